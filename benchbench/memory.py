"""How much memory does a call take at most, and how many images have room?"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def peak_memory(device: str) -> Iterator[dict[str, int]]:
    """The most memory in use inside the block: the allocator's on a GPU, resident memory added on a CPU."""
    found: dict[str, int] = {}
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield found
        torch.cuda.synchronize(device)
        found["bytes"] = torch.cuda.max_memory_allocated(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = _resident("VmRSS")
    except OSError:
        yield found
        return
    yield found
    found["bytes"] = max(0, _resident("VmHWM") - before)


def _resident(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def empty_caches(device: str) -> None:
    """Give the device's memory back; on a CPU it went back when the last reference did."""
    if device.startswith("cuda"):
        import torch

        gc.collect()
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
