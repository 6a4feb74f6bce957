"""y = f(f(...f(x))) with f(v) = (1 - 2^-10) v + 2^-10, ROUNDS times: how fast can the CUDA cores multiply and add?

A thread keeps eight values in registers, so that eight independent chains hide the latency of each multiply-add; memory
is read and written once. The constants are exact in every type, so that float64 computes the same function.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# mypy: disallow-untyped-decorators=False, disable-error-code="no-untyped-def"

FACTOR, SUMMAND = 1 - 2**-10, 2**-10
BLOCK = 1024


@triton.jit
def multiply_add_kernel(
    x, y, n, ROUNDS: tl.constexpr, FACTOR: tl.constexpr, SUMMAND: tl.constexpr, BLOCK: tl.constexpr
):
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    m = offsets < n

    value = tl.load(x + offsets, mask=m, other=0.0)

    for _ in range(ROUNDS // 16):
        for _ in tl.static_range(16):
            value = value * FACTOR + SUMMAND

    tl.store(y + offsets, value, mask=m)


def multiply_add(x: Tensor, rounds: int) -> Tensor:
    """x: float32 on a GPU, any shape, dense. rounds: a multiple of 16. 2 * rounds flops an element."""
    if rounds % 16 or rounds < 16:
        raise ValueError(f"multiply_add: rounds must be a multiple of 16, got {rounds}")
    y = torch.empty_like(x)
    grid = (triton.cdiv(x.numel(), BLOCK),)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        multiply_add_kernel[grid](
            x, y, x.numel(), ROUNDS=rounds, FACTOR=FACTOR, SUMMAND=SUMMAND, BLOCK=BLOCK, num_warps=4,
            enable_fp_fusion=True,
        )  # fmt: skip
    return y


def reference(x: Tensor, rounds: int) -> Tensor:
    """The same by its definition, one multiplication and one addition at a time."""
    value = x.clone()
    for _ in range(rounds):
        value.mul_(FACTOR).add_(SUMMAND)
    return value
