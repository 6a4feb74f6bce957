"""Kernels with a known answer: copies, strides, transposes, bands, and planted faults."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def copy_kernel(x, y, n, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + o, tl.load(x + o, mask=o < n), mask=o < n)


@triton.jit
def aligned_copy(x, y, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + o, tl.load(x + o))


@triton.jit
def shifted_copy(x, y, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + o, tl.load(x + o + 1))


@triton.jit
def strided_read(x, y, STRIDE: tl.constexpr, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + o, tl.load(x + o * STRIDE))


@triton.jit
def transpose(x, y, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    r, c = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    tl.store(y + c * ROWS + r, tl.load(x + r * COLUMNS + c))


@triton.jit
def double_read(x, y, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    first = tl.load(x + o)
    again = tl.load(x + o, eviction_policy="evict_last")
    tl.store(y + o, first + again)


@triton.jit
def band(x, w, y, C, H, W, K: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, EDGE: tl.constexpr):
    """The naive 1 x K depthwise convolution, each tap a shifted load. EDGE: the load's mask knows the tile's end."""
    plane = tl.program_id(0)
    h = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    j = tl.arange(0, COLUMNS)[None, :]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for k in tl.static_range(K):
        at = j + k - K // 2
        m = (h < H) & (at >= 0) & (at < W)
        if EDGE:
            m = m & (j < W)
        total += tl.load(x + plane * H * W + h * W + at, mask=m, other=0.0) * tl.load(w + plane % C * K + k)
    tl.store(y + plane * H * W + h * W + j, total, mask=(h < H) & (j < W))


@triton.jit
def looped(x, y, BLOCK: tl.constexpr, TRIPS: tl.constexpr):
    total = tl.zeros((BLOCK,), tl.float32)
    for trip in range(TRIPS):
        o = (tl.program_id(0) * TRIPS + trip) * BLOCK + tl.arange(0, BLOCK)
        value = tl.load(x + o)
        total += tl.exp(value)
        tl.store(y + o, total)


@triton.jit
def data_dependent_loop(x, y, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for trip in range(n):
        total += tl.load(x + trip * BLOCK + o)
    tl.store(y + o, total)


@triton.jit
def many_values(x, y, BLOCK: tl.constexpr, VALUES: tl.constexpr):
    """Keeps VALUES loads alive until the last is there: spills where registers are few."""
    o = tl.arange(0, BLOCK)
    kept = ()
    for k in tl.static_range(VALUES):
        kept = kept + (tl.load(x + k * BLOCK + o),)  # noqa: RUF005
    total = tl.zeros((BLOCK,), tl.float32)
    for k in tl.static_range(VALUES):
        total = total * kept[VALUES - 1 - k] + kept[k]
    tl.store(y + o, total)


@triton.jit
def matmul(x, y, z, SIZE: tl.constexpr):
    r, c = tl.arange(0, SIZE)[:, None], tl.arange(0, SIZE)[None, :]
    product = tl.dot(tl.load(x + r * SIZE + c), tl.load(y + r * SIZE + c))
    tl.store(z + r * SIZE + c, product)


@triton.jit
def histogram(x, counts, BLOCK: tl.constexpr):
    bucket = tl.load(x + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))
    tl.atomic_add(counts + bucket, 1)


@triton.jit
def gathered(x, places, y, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    tl.store(y + o, tl.load(x + tl.load(places + o)))


@triton.jit
def described(x, y, ROWS, COLUMNS, BLOCK: tl.constexpr):
    source = tl.make_tensor_descriptor(x, [ROWS, COLUMNS], [COLUMNS, 1], [BLOCK, BLOCK])
    target = tl.make_tensor_descriptor(y, [ROWS, COLUMNS], [COLUMNS, 1], [BLOCK, BLOCK])
    at = [tl.program_id(0) * BLOCK, tl.program_id(1) * BLOCK]
    target.store(at, source.load(at))


@triton.jit
def in_a_helper(pointers, m):
    return tl.load(pointers, mask=m)


@triton.jit
def beyond_the_end(x, y, n, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + o, in_a_helper(x + o, o <= n), mask=o < n)


@triton.jit
def lost_updates(x, counts, BLOCK: tl.constexpr):
    far = tl.load(x + tl.arange(0, BLOCK))
    tl.atomic_add(counts + far, 1)
    tl.atomic_cas(counts + far, 0, 1)


@triton.jit
def unequal(x, y, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    tl.store(y + o, tl.load(x + o) + tl.arange(0, BLOCK // 2))


@triton.jit
def given_descriptors(source, target, BLOCK: tl.constexpr):
    at = [tl.program_id(0) * BLOCK, tl.program_id(1) * BLOCK]
    target.store(at, source.load(at))


@triton.jit
def as_integers(x, y, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    tl.store(y.to(tl.pointer_type(tl.int16)) + o, tl.load(x.to(tl.pointer_type(tl.int16)) + o))


@triton.jit
def blocks(x, y, ROWS, COLUMNS, BLOCK: tl.constexpr, CHECKED: tl.constexpr):
    r, c = tl.program_id(0) * BLOCK, tl.program_id(1) * BLOCK
    source = tl.make_block_ptr(x, (ROWS, COLUMNS), (COLUMNS, 1), (r, c), (BLOCK, BLOCK), (1, 0))
    target = tl.make_block_ptr(y, (ROWS, COLUMNS), (COLUMNS, 1), (r, c), (BLOCK, BLOCK), (1, 0))
    if CHECKED:
        tl.store(target, tl.load(source, boundary_check=(0, 1)), boundary_check=(0, 1))
    else:
        tl.store(target, tl.load(source))
