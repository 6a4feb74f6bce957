"""What does an output hold that was never written? NaN, while this is in force, whoever allocates it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

# malloc.h: glibc fills each new block with the complement of the low byte of this parameter; 0x100 makes that 0xFF,
# and a floating-point number of any width whose bits are all set is NaN.
M_PERTURB = -6
ALL_BITS = 0x100

FUNCTIONS = ("empty", "empty_like", "empty_strided", "empty_permuted")
METHODS = ("new_empty", "new_empty_strided")
# Where the caching allocator of PyTorch (c10/cuda/CUDACachingAllocator) ends what it serves from its small segments.
SMALL_REQUEST = 1 << 20


@contextmanager
def poisoned(device: Any) -> Iterator[None]:
    """Fill new memory with NaN: torch.empty and its kin, C's malloc, and the freed blocks of the GPU's allocator.

    The three are needed together: kernels launched from Python allocate by torch.empty, PyTorch's own operators in C++.
    """
    import torch

    device = torch.device(device)
    with ExitStack() as stack:
        poison_free_blocks(device)
        stack.enter_context(_perturbed_malloc())
        stack.enter_context(_patched_empty())
        yield


def fill(tensor: Any) -> Any:
    """The tensor, filled with NaN, or with the largest value where its numbers have none."""
    import torch

    if tensor.is_meta or tensor.is_quantized or type(tensor) is not torch.Tensor:
        return tensor
    with torch.no_grad():
        if tensor.is_floating_point() and tensor.element_size() == 1:
            # Eight-bit floats have no arithmetic of their own; all bits set is NaN in both of their kinds.
            tensor.detach().view(torch.uint8).fill_(0xFF)
        elif tensor.is_floating_point() or tensor.is_complex():
            tensor.detach().fill_(float("nan"))
        elif tensor.dtype == torch.bool:
            tensor.fill_(True)
        else:
            tensor.fill_(torch.iinfo(tensor.dtype).max)
    return tensor


@contextmanager
def _patched_empty() -> Iterator[None]:
    """Functions are replaced by name, because a mode of PyTorch does not see what a custom operator allocates."""
    import torch

    def poisoning(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def filled(*args: Any, **kwargs: Any) -> Any:
            # What is traced now would be compiled with the filling in it, and timed so.
            if torch.compiler.is_compiling():
                return function(*args, **kwargs)
            return fill(function(*args, **kwargs))

        return filled

    owners = [(torch, name) for name in FUNCTIONS] + [(torch.Tensor, name) for name in METHODS]
    before = [(owner, name, vars(owner).get(name), getattr(owner, name)) for owner, name in owners]
    for owner, name, _, function in before:
        setattr(owner, name, poisoning(function))
    try:
        yield
    finally:
        for owner, name, own, _ in before:
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)


@contextmanager
def _perturbed_malloc() -> Iterator[None]:
    """Where C's library is not glibc there is no such parameter, and only the other ways are left."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        yield
        return
    mallopt(M_PERTURB, ALL_BITS)
    try:
        yield
    finally:
        mallopt(M_PERTURB, int(os.environ.get("MALLOC_PERTURB_") or 0))


def poison_free_blocks(device: Any) -> None:
    """Allocate every block that a GPU's caching allocator holds free, fill it, and free it again; no CPU has such.

    Largest first: each request then fits a block exactly, so nothing new is asked of the driver. Blocks of other
    streams and of CUDA graphs' own pools are out of reach: no call on this stream is given them either.
    """
    import torch

    if device.type != "cuda":
        return
    torch.cuda.synchronize(device)
    index = device.index if device.index is not None else torch.cuda.current_device()
    stream = torch.cuda.current_stream(device).cuda_stream
    segments = torch.cuda.memory_snapshot()  # type: ignore[no-untyped-call]
    sizes = free_blocks(segments, device=index, stream=stream)
    held = [torch.empty(size, dtype=torch.uint8, device=device) for size in sizes]
    for block in held:
        block.fill_(0xFF)
    del held


def free_blocks(segments: list[dict[str, Any]], *, device: int, stream: int) -> list[int]:
    """Sizes in bytes, largest first, of requests that take all that the next ones on this device and stream may get.

    A block of a small segment may be larger than any request that is served from it: it is taken in pieces.
    """
    return sorted(
        (
            size
            for segment in segments
            if segment["device"] == device
            and segment.get("stream", stream) == stream
            and tuple(segment.get("segment_pool_id", (0, 0))) == (0, 0)
            for block in segment["blocks"]
            if block["state"] == "inactive"
            for size in _pieces(block["size"], is_small=segment.get("segment_type") == "small")
        ),
        reverse=True,
    )


def _pieces(size: int, *, is_small: bool) -> Iterator[int]:
    most = SMALL_REQUEST if is_small else size
    for start in range(0, size, max(1, most)):
        yield min(most, size - start)
