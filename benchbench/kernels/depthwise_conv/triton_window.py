"""How a thread reads its window, keeps it in registers, and multiplies it: the pieces of the depthwise kernels.

A unit is S rows and V columns of one channel (channels first, PIXEL = 0: one thread a unit, tensors [T]) or of B
channels (channels last, PIXEL elements from pixel to pixel: tensors [T, B], neighbouring threads hold neighbouring
channels). A row of the window is a tuple with one fp32 tensor a column, ``lanes[A]`` being the unit's first column; A
columns of halo lie on either side, none where a row is one unit (WB = 1). Taps that fall outside the image vanish when
the kernel is compiled, where that is known, and are selected away elsewhere: an infinity never meets a padding zero.
"""

# Triton's tuples grow by + alone, its functions are typed by their callers.
# ruff: noqa: RUF005
# mypy: disallow-untyped-decorators=False, disable-error-code="no-untyped-def, assignment"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def apart(tile, U: tl.constexpr):
    """A tile [T, U] as U tensors [T], without leaving the thread."""
    T: tl.constexpr = tile.shape[0]
    if U == 1:
        return (tl.reshape(tile, (T,)),)
    elif U == 2:
        a, b = tl.split(tile)
        return (a, b)
    elif U == 4:
        even, odd = tl.split(tl.reshape(tile, (T, 2, 2)))
        a, c = tl.split(even)
        b, d = tl.split(odd)
        return (a, b, c, d)
    else:
        even, odd = tl.split(tl.reshape(tile, (T, 2, 2, 2)))
        low, high = tl.split(even)
        a, e = tl.split(low)
        c, g = tl.split(high)
        low, high = tl.split(odd)
        b, f = tl.split(low)
        d, h = tl.split(high)
        return (a, b, c, d, e, f, g, h)


@triton.jit
def together(lanes, first: tl.constexpr, U: tl.constexpr):
    """The U tensors [T] from ``first`` on, as a tile [T, U]: the inverse of ``apart``."""
    T: tl.constexpr = lanes[first].shape[0]
    if U == 1:
        return tl.reshape(lanes[first], (T, 1))
    elif U == 2:
        return tl.join(lanes[first], lanes[first + 1])
    elif U == 4:
        even = tl.join(lanes[first], lanes[first + 2])
        odd = tl.join(lanes[first + 1], lanes[first + 3])
        return tl.reshape(tl.join(even, odd), (T, 4))
    else:
        low = tl.join(lanes[first], lanes[first + 4])
        high = tl.join(lanes[first + 2], lanes[first + 6])
        even = tl.join(low, high)
        low = tl.join(lanes[first + 1], lanes[first + 5])
        high = tl.join(lanes[first + 3], lanes[first + 7])
        odd = tl.join(low, high)
        return tl.reshape(tl.join(even, odd), (T, 8))


@triton.jit
def part_of(values, first: tl.constexpr, length: tl.constexpr):
    chosen = ()
    for k in tl.static_range(length):
        chosen = chosen + (values[first + k],)
    return chosen


@triton.jit
def columns_inside(column, W: tl.constexpr, WB: tl.constexpr, V: tl.constexpr, A: tl.constexpr):
    """For each lane, whether it is a column of the image."""
    insides = ()
    if WB > 1:
        for c in tl.static_range(V + 2 * A):
            insides = insides + ((column + (c - A) >= 0) & (column + (c - A) < W),)
    return insides


@triton.jit
def load_vector(row, column, m, offset: tl.constexpr, W: tl.constexpr, WB: tl.constexpr, U: tl.constexpr):
    """U columns of a row of one channel, from ``column + offset`` on; ``row`` points at ``column``."""
    pointers = row[:, None] + (offset + tl.arange(0, U))[None, :]
    if WB == 1:
        return tl.load(pointers, mask=m[:, None], other=0.0)
    else:
        inside = m & (column + offset >= 0) & (column + offset < W)
        return tl.load(pointers, mask=inside[:, None], other=0.0)


@triton.jit
def load_pixel(row, column, m, offset: tl.constexpr, W: tl.constexpr, WB: tl.constexpr, PIXEL: tl.constexpr):
    """The channels of one column of a row."""
    if WB == 1:
        return tl.load(row + offset * PIXEL, mask=m, other=0.0)
    else:
        inside = m & (column + offset >= 0) & (column + offset < W)
        return tl.load(row + offset * PIXEL, mask=inside, other=0.0)


@triton.jit
def load_row(
    row, column, m, PIXEL: tl.constexpr,
    W: tl.constexpr, WB: tl.constexpr, V: tl.constexpr, U: tl.constexpr, A: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """One row of the window as it lies in memory, zero outside the image: vectors of U, in the halo of E, or pixels."""
    parts = ()
    if PIXEL > 0:
        for c in tl.static_range(V + 2 * A):
            parts = parts + (load_pixel(row, column, m, c - A, W, WB, PIXEL),)
    else:
        for e in tl.static_range(A // E):
            parts = parts + (load_vector(row, column, m, e * E - A, W, WB, E),)
        for u in tl.static_range(V // U):
            parts = parts + (load_vector(row, column, m, u * U, W, WB, U),)
        for e in tl.static_range(A // E):
            parts = parts + (load_vector(row, column, m, V + e * E, W, WB, E),)
    return parts


@triton.jit
def spread(parts, PIXEL: tl.constexpr, V: tl.constexpr, U: tl.constexpr, A: tl.constexpr, E: tl.constexpr):
    """What ``load_row`` loaded as lanes, in fp32."""
    lanes = ()
    if PIXEL > 0:
        for c in tl.static_range(V + 2 * A):
            lanes = lanes + (parts[c].to(tl.float32),)
    else:
        for e in tl.static_range(A // E):
            lanes = lanes + apart(parts[e].to(tl.float32), E)
        for u in tl.static_range(V // U):
            lanes = lanes + apart(parts[A // E + u].to(tl.float32), U)
        for e in tl.static_range(A // E):
            lanes = lanes + apart(parts[A // E + V // U + e].to(tl.float32), E)
    return lanes


@triton.jit
def load_window_row(
    source, column, m, top, row: tl.constexpr, PIXEL: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    HB: tl.constexpr, WB: tl.constexpr, V: tl.constexpr, U: tl.constexpr, A: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """Row ``row`` counted from the unit's first; nothing for a row that no image has."""
    STEP: tl.constexpr = W * PIXEL if PIXEL > 0 else W
    if HB > 1:
        inside = m & (top + row >= 0) & (top + row < H)
        return load_row(source + row * STEP, column, inside, PIXEL, W, WB, V, U, A, E)
    elif row >= 0 and row < H:
        return load_row(source + row * STEP, column, m, PIXEL, W, WB, V, U, A, E)
    else:
        return (0,)


@triton.jit
def spread_window_row(
    parts, row: tl.constexpr, PIXEL: tl.constexpr, H: tl.constexpr, HB: tl.constexpr,
    V: tl.constexpr, U: tl.constexpr, A: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    if HB > 1 or (row >= 0 and row < H):
        return spread(parts, PIXEL, V, U, A, E)
    else:
        return (0,)


@triton.jit
def add_tap(
    y, lanes, insides, tap, column: tl.constexpr, W: tl.constexpr, WB: tl.constexpr, V: tl.constexpr, A: tl.constexpr
):
    """``y`` plus the tap times the lane of ``column``, if that is inside the image."""
    if WB == 1:
        if column >= 0 and column < W:
            y = y + tap * lanes[column]
    elif W % V == 0 and column >= 0 and column < V:
        y = y + tap * lanes[A + column]
    else:
        y = tl.where(insides[A + column], y + tap * lanes[A + column], y)
    return y


@triton.jit
def correlate(
    y, lanes, insides, taps, i: tl.constexpr, v: tl.constexpr, KW: tl.constexpr,
    W: tl.constexpr, WB: tl.constexpr, V: tl.constexpr, A: tl.constexpr,
):  # fmt: skip
    """``y`` plus what row ``i`` of the taps adds to column ``v``."""
    for j in tl.static_range(KW):
        y = add_tap(y, lanes, insides, taps[i * KW + j], v + j - KW // 2, W, WB, V, A)
    return y


@triton.jit
def correlate_inside(
    y, lanes, insides, taps, top, row: tl.constexpr, i: tl.constexpr, v: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    KW: tl.constexpr, S: tl.constexpr, HB: tl.constexpr, WB: tl.constexpr, V: tl.constexpr, A: tl.constexpr,
):  # fmt: skip
    """As ``correlate``, if ``row`` is inside the image."""
    if HB == 1:
        if row >= 0 and row < H:
            y = correlate(y, lanes, insides, taps, i, v, KW, W, WB, V, A)
    elif H % S == 0 and row >= 0 and row < S:
        y = correlate(y, lanes, insides, taps, i, v, KW, W, WB, V, A)
    else:
        inside = (top + row >= 0) & (top + row < H)
        y = tl.where(inside, correlate(y, lanes, insides, taps, i, v, KW, W, WB, V, A), y)
    return y


@triton.jit
def output_row(
    start, rows, insides, taps, top, s: tl.constexpr,
    H: tl.constexpr, W: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr,
    S: tl.constexpr, HB: tl.constexpr, WB: tl.constexpr, V: tl.constexpr, A: tl.constexpr,
):  # fmt: skip
    """Row ``s`` of the unit, V columns; ``rows[0]`` is row -(KH // 2)."""
    out = ()
    for v in tl.static_range(V):
        y = start
        for i in tl.static_range(KH):
            y = correlate_inside(y, rows[s + i], insides, taps, top, s + i - KH // 2, i, v, H, W, KW, S, HB, WB, V, A)
        out = out + (y,)
    return out


@triton.jit
def store_row(
    target, column, m, top, out, s: tl.constexpr, PIXEL: tl.constexpr,
    H: tl.constexpr, W: tl.constexpr, S: tl.constexpr, V: tl.constexpr, U: tl.constexpr,
):  # fmt: skip
    """V columns to row ``s`` of the unit."""
    here = m
    if H % S != 0:
        here = here & (top + s < H)
    if PIXEL > 0:
        for v in tl.static_range(V):
            inside = here
            if W % V != 0:
                inside = inside & (column + v < W)
            tl.store(target + (s * W + v) * PIXEL, out[v].to(target.dtype.element_ty), mask=inside)
    else:
        for u in tl.static_range(V // U):
            inside = here
            if W % V != 0:
                inside = inside & (column + u * U < W)
            pointers = target[:, None] + (s * W + u * U + tl.arange(0, U))[None, :]
            tl.store(pointers, together(out, u * U, U).to(target.dtype.element_ty), mask=inside[:, None])


@triton.jit
def copy_channels(
    x, y, program, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, FIRST: tl.constexpr,
    X_STRIDE: tl.constexpr, X_PIXEL: tl.constexpr, Y_PIXEL: tl.constexpr,
    COPY: tl.constexpr, COPIES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The first FIRST channels: COPIES tiles of COPY elements, all loaded before the first is stored.

    Channels last a tile is CHANNELS channels (a power of two, those past FIRST masked) of COPY // CHANNELS pixels.
    """
    waiting = ()
    for k in tl.static_range(COPIES):
        image, source, target, m = copied(program, k, C, H, W, FIRST, X_PIXEL, Y_PIXEL, COPY, COPIES, CHANNELS)
        waiting = waiting + (tl.load(x + image * X_STRIDE + source, mask=m),)
    for k in tl.static_range(COPIES):
        image, source, target, m = copied(program, k, C, H, W, FIRST, X_PIXEL, Y_PIXEL, COPY, COPIES, CHANNELS)
        tl.store(y + image * (C * H * W) + target, waiting[k].to(y.dtype.element_ty), mask=m)


@triton.jit
def copied(
    program, k: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, FIRST: tl.constexpr,
    X_PIXEL: tl.constexpr, Y_PIXEL: tl.constexpr, COPY: tl.constexpr, COPIES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Image, offsets in it and mask of tile ``k``."""
    if X_PIXEL == 0:
        PROGRAMS: tl.constexpr = (FIRST * H * W + COPY * COPIES - 1) // (COPY * COPIES)
        at = program % PROGRAMS * (COPY * COPIES) + k * COPY + tl.arange(0, COPY)
        image = (program // PROGRAMS).to(tl.int64)
        return image, at, at, at < FIRST * H * W
    else:
        BLOCKS: tl.constexpr = (FIRST + CHANNELS - 1) // CHANNELS
        PIXELS: tl.constexpr = COPY // CHANNELS
        GROUPS: tl.constexpr = (H * W + PIXELS * COPIES - 1) // (PIXELS * COPIES)
        channel = program % BLOCKS * CHANNELS + tl.arange(0, CHANNELS)[None, :]
        pixel = program // BLOCKS % GROUPS * (PIXELS * COPIES) + k * PIXELS + tl.arange(0, PIXELS)[:, None]
        image = (program // (BLOCKS * GROUPS)).to(tl.int64)
        m = (channel < FIRST) & (pixel < H * W)
        return image, pixel * X_PIXEL + channel, pixel * Y_PIXEL + channel, m
