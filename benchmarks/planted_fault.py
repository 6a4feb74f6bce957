"""A fault on purpose: a kernel without a mask, which gpu_sanitize.py must see read past the end of a shorter tensor."""

import triton
import triton.language as tl


@triton.jit
def copy_block(x, y, BLOCK: tl.constexpr):
    """y = x, by one program."""
    i = tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i))
