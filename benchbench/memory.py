"""How much memory does a call take at most, and how many images have room?"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate


@contextmanager
def peak_memory(device: str, *, before: int = 0) -> Iterator[dict[str, int]]:
    """The most memory that tensors take inside the block, as "bytes" once it is left.

    On a GPU what its allocator had handed out at most, weights and inputs included, less what was held ``before`` they
    were made (see `held`); on a CPU what PyTorch allocated inside the block and had not freed, at most: resident memory
    would say what malloc kept from earlier points.
    """
    import torch

    found: dict[str, int] = {}
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield found
        torch.cuda.synchronize(device)
        found["bytes"] = torch.cuda.max_memory_allocated(device) - before
        return
    with torch.autograd.profiler.profile(profile_memory=True, use_kineto=True) as profile:
        yield found
    if profile.kineto_results is not None:
        seen = [event for event in profile.kineto_results.events() if event.name() == "[memory]"]
        found["bytes"] = highest((event.start_ns(), event.nbytes()) for event in seen)


def held(device: str) -> int:
    """Bytes that a GPU's allocator has handed out: the timer's own buffer, and what earlier points left; 0 on a CPU."""
    if not device.startswith("cuda"):
        return 0
    import torch

    return torch.cuda.memory_allocated(device)


def highest(changes: Iterable[tuple[int, int]]) -> int:
    """The largest sum of changes (time, bytes) in the order of their times, at least 0."""
    return max(accumulate((size for _, size in sorted(changes, key=lambda change: change[0])), initial=0))


def empty_caches(device: str) -> None:
    """Give the device's memory back; on a CPU it went back when the last reference did.

    After a fault of the device nothing can be given back: the process that met it is at its end.
    """
    if device.startswith("cuda"):
        import torch

        gc.collect()
        with suppress(RuntimeError):
            # Kept by cuBLAS from a process's first product on, whichever point that was of.
            torch._C._cuda_clearCublasWorkspaces()
            torch.cuda.empty_cache()


def largest_batch(fits: Callable[[int], bool], *, most: int = 1 << 16) -> int:
    """The largest batch that fits: doubled while it does, then bisected to an eighth of its power of two.

    Raises MemoryError where not even one image fits.
    """
    if not fits(1):
        raise MemoryError("not even a batch of 1 fits")
    low = 1
    while low < most and fits(2 * low):
        low *= 2
    if low >= most:
        return most
    step, largest = low // 2, low
    while step >= max(1, low // 8):
        if fits(largest + step):
            largest += step
        step //= 2
    return largest
