"""How a thread of the NCHW kernels finds its window of a plane, loads it, takes it apart and puts results together.

A unit is what one thread owns: S rows of SEG columns of one channel of one image. A row of a window is loaded in pieces
of V neighbouring elements, V a power of two that divides W, so that a piece lies inside the row or outside of it. Lanes
are the pieces taken apart: one tensor over the threads for every column of the window, in float32.
"""

# Triton's tuples grow by + alone, its functions are typed by their callers.
# ruff: noqa: RUF005
# mypy: disallow-untyped-decorators=False, disable-error-code="no-untyped-def, assignment"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def unit_of(
    pid, N, FIRST: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, GC: tl.constexpr,
    X_STRIDE: tl.constexpr, GROUP: tl.constexpr, S: tl.constexpr, SEG: tl.constexpr, PLANE: tl.constexpr,
    THREADS: tl.constexpr,
):  # fmt: skip
    """Each thread's unit of a branch whose channels start at FIRST. GROUP images share programs; PLANE threads a plane.

    Returns its channel in the branch, its first row and column, its offsets in x and in y, and whether it exists.
    """
    SEGS: tl.constexpr = (W + SEG - 1) // SEG
    UNITS: tl.constexpr = (H + S - 1) // S * SEGS
    PROGRAMS: tl.constexpr = (GROUP * GC * PLANE + THREADS - 1) // THREADS
    group = pid // PROGRAMS
    t = pid % PROGRAMS * THREADS + tl.arange(0, THREADS)
    m = tl.full([THREADS], 1, tl.int1) if GROUP * GC * PLANE % THREADS == 0 else t < GROUP * GC * PLANE
    m = m if PLANE == UNITS else m & (t % PLANE < UNITS)
    c = t // PLANE
    h0 = t % PLANE // SEGS * S
    w0 = t % PLANE % SEGS * SEG
    x_offset = group.to(tl.int64) * GROUP * X_STRIDE + FIRST * H * W
    y_offset = group.to(tl.int64) * GROUP * (C * H * W) + FIRST * H * W
    if GROUP > 1:
        image = c // GC
        m = m & (image < N - group * GROUP)
        c = c - image * GC
        x_offset += image.to(tl.int64) * X_STRIDE
        y_offset += image.to(tl.int64) * (C * H * W)
    inside = c * (H * W) + h0 * W + w0
    return c, h0, w0, x_offset + inside, y_offset + inside, m


@triton.jit
def lanes_of(piece, V: tl.constexpr):
    """The columns of a piece [units, V]: V tensors [units]."""
    UNITS: tl.constexpr = piece.shape[0]
    if V == 1:
        lanes = (tl.reshape(piece, [UNITS]),)
    else:
        even, odd = tl.split(tl.reshape(piece, [UNITS, V // 2, 2]))
        evens = lanes_of(even, V // 2)
        odds = lanes_of(odd, V // 2)
        lanes = ()
        for i in tl.static_range(V // 2):
            lanes = lanes + (evens[i], odds[i])
    return lanes


@triton.jit
def piece_of(lanes, FIRST: tl.constexpr, V: tl.constexpr, STEP: tl.constexpr = 1):
    """The piece [units, V] of lanes FIRST, FIRST + STEP and so on."""
    UNITS: tl.constexpr = lanes[0].shape[0]
    if V == 1:
        piece = tl.reshape(lanes[FIRST], [UNITS, 1])
    else:
        even = piece_of(lanes, FIRST, V // 2, 2 * STEP)
        odd = piece_of(lanes, FIRST + STEP, V // 2, 2 * STEP)
        piece = tl.reshape(tl.join(even, odd), [UNITS, V])
    return piece


@triton.jit
def load_piece(pointers, OFFSET: tl.constexpr, m, V: tl.constexpr):
    """V neighbouring elements at a constant distance from each unit's pointer, as float32 [units, V]; 0 where not m."""
    columns = OFFSET + tl.arange(0, V)
    return tl.load(pointers[:, None] + columns[None, :], mask=m[:, None], other=0.0).to(tl.float32)


@triton.jit
def store_piece(pointers, OFFSET: tl.constexpr, m, piece, V: tl.constexpr):
    """Store [units, V] at a constant distance from each unit's pointer, where m."""
    columns = OFFSET + tl.arange(0, V)
    tl.store(pointers[:, None] + columns[None, :], piece.to(pointers.dtype.element_ty), mask=m[:, None])


@triton.jit
def row_exists(h0, ROW: tl.constexpr, m, S: tl.constexpr, H: tl.constexpr):
    """Where row h0 + ROW lies inside the plane, compared only where that can fail.

    h0 is a multiple of S, and so are the bounds: rows that are inside or outside together share one comparison.
    """
    exists = m
    if ROW < 0:
        exists = exists & (h0 >= (S - 1 - ROW) // S * S)
    if ROW >= S or H % S != 0:
        exists = exists & (h0 <= (H - 1 - ROW) // S * S)
    return exists


@triton.jit
def load_row(
    pointers, h0, w0, ROW: tl.constexpr, m, P: tl.constexpr, S: tl.constexpr, SEG: tl.constexpr, V: tl.constexpr,
    HALO: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """The lanes of row h0 + ROW, columns w0 - P to w0 + SEG - 1 + P, zero outside the plane.

    pointers are at (h0, w0). The P columns on either side are read in pieces of HALO. Where a segment is a whole row,
    or the window a whole plane, what lies outside is known when compiling and is not read.
    """
    UNITS: tl.constexpr = h0.shape[0]
    zero = tl.zeros([UNITS], tl.float32)
    lanes = ()
    if S >= H and (ROW < 0 or ROW >= H):
        for _ in tl.static_range(SEG + 2 * P):
            lanes = lanes + (zero,)
    else:
        exists = row_exists(h0, ROW, m, S, H)
        SIDE: tl.constexpr = (P + HALO - 1) // HALO
        for i in tl.static_range(SIDE):
            if SEG >= W:
                piece = tl.zeros([UNITS, HALO], tl.float32)
            else:
                piece = load_piece(pointers, ROW * W + (i - SIDE) * HALO, exists & (w0 >= (SIDE - i) * HALO), HALO)
            if i == 0:
                lanes = lanes + drop_lanes(lanes_of(piece, HALO), SIDE * HALO - P, HALO)
            else:
                lanes = lanes + lanes_of(piece, HALO)
        for i in tl.static_range(SEG // V):
            inside = exists
            if W % SEG != 0:
                inside = inside & (w0 < W - i * V)
            lanes = lanes + lanes_of(load_piece(pointers, ROW * W + i * V, inside, V), V)
        for i in tl.static_range(SIDE):
            if SEG >= W:
                piece = tl.zeros([UNITS, HALO], tl.float32)
            else:
                piece = load_piece(pointers, ROW * W + SEG + i * HALO, exists & (w0 < W - SEG - i * HALO), HALO)
            lanes = lanes + lanes_of(piece, HALO)
    return lanes


@triton.jit
def store_row(
    pointers, h0, w0, ROW: tl.constexpr, m, lanes, S: tl.constexpr, SEG: tl.constexpr, V: tl.constexpr,
    H: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Store the SEG lanes of row h0 + ROW in pieces of V; pointers are at (h0, w0)."""
    exists = row_exists(h0, ROW, m, S, H)
    for i in tl.static_range(SEG // V):
        inside = exists if W % SEG == 0 else exists & (w0 < W - i * V)
        store_piece(pointers, ROW * W + i * V, inside, piece_of(lanes, i * V, V), V)


@triton.jit
def load_column(
    pointers, h0, ROW: tl.constexpr, m, S: tl.constexpr, V: tl.constexpr, H: tl.constexpr, W: tl.constexpr
):  # fmt: skip
    """The piece [units, V] of row h0 + ROW, zero outside the plane; pointers are at row h0."""
    if S >= H and (ROW < 0 or ROW >= H):
        piece = tl.zeros([h0.shape[0], V], tl.float32)
    else:
        piece = load_piece(pointers, ROW * W, row_exists(h0, ROW, m, S, H), V)
    return piece


@triton.jit
def drop_lanes(lanes, FIRST: tl.constexpr, COUNT: tl.constexpr):
    """Lanes FIRST to COUNT - 1."""
    rest = ()
    for i in tl.static_range(FIRST, COUNT):
        rest = rest + (lanes[i],)
    return rest


@triton.jit
def load_taps(w, c, TAPS: tl.constexpr, m):
    """The TAPS weights of each unit's channel, in float32."""
    taps = ()
    for k in tl.static_range(TAPS):
        taps = taps + (tl.load(w + c * TAPS + k, mask=m, other=0.0).to(tl.float32),)
    return taps
