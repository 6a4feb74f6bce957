"""A kernel of your own for bench traffic and bench resources: what does it ask of memory, and what does it become?

bench traffic examples/copy_kernel.py
bench resources examples/copy_kernel.py --arch sm_80,sm_90
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl

ELEMENTS = 100_000


@triton.jit
def copy_kernel(x, y, n, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + o, tl.load(x + o, mask=o < n), mask=o < n)


def example() -> Callable[[], object]:
    """A call that launches the kernel, on the CPU: no GPU is needed to look at it."""
    x, y = torch.randn(ELEMENTS), torch.empty(ELEMENTS)
    return lambda: copy_kernel[(triton.cdiv(ELEMENTS, 1024),)](x, y, ELEMENTS, BLOCK=1024)
