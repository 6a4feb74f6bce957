"""How programs of the NCHW forward pass give the moments of the planes that they hold; see `triton_statistics`.

A plane is the threads of one program, or of several whole ones; small planes share a program. The identity is copied
plane by plane, and a thread keeps the sums of its places over several images, so that joining them costs little.
"""

# Triton's functions are typed by their callers.
# mypy: disallow-untyped-decorators=False, disable-error-code="no-untyped-def, assignment"

from __future__ import annotations

import triton
import triton.language as tl

from .triton_nchw_window import piece_of, row_exists
from .triton_statistics import as_stored, finished, joined, with_piece, write_row


@triton.jit
def with_row(
    found, y, h0, w0, ROW: tl.constexpr, m, lanes, S: tl.constexpr, SEG: tl.constexpr, V: tl.constexpr,
    H: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Each thread's moments with the SEG lanes of row h0 + ROW."""
    WHOLE: tl.constexpr = H % S == 0 and W % SEG == 0
    exists = row_exists(h0, ROW, m, S, H)
    for i in tl.static_range(SEG // V):
        inside = exists if W % SEG == 0 else exists & (w0 < W - i * V)
        found = with_piece(found, y, piece_of(lanes, i * V, V), inside, ROW == 0 and i == 0, WHOLE)
    return found


@triton.jit
def write_planes(
    moments, counts, found, m, pid, N, FIRST: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    GC: tl.constexpr, PART: tl.constexpr, GROUP: tl.constexpr, S: tl.constexpr, SEG: tl.constexpr,
    PLANE: tl.constexpr, THREADS: tl.constexpr,
):  # fmt: skip
    """Join the threads of each plane and write its row; a plane of several programs has a row for each of them."""
    LANES: tl.constexpr = PLANE if PLANE < THREADS else THREADS
    SHARES: tl.constexpr = PLANE // LANES
    UNITS: tl.constexpr = (H + S - 1) // S * ((W + SEG - 1) // SEG)
    COUNT: tl.constexpr = S * SEG if H % S == 0 and W % SEG == 0 else 0
    PROGRAMS: tl.constexpr = (GROUP * GC * PLANE + THREADS - 1) // THREADS
    place = pid % PROGRAMS * (THREADS // LANES) + tl.arange(0, THREADS // LANES)
    count, mean, deviation = finished(found, m, COUNT)
    count = tl.reshape(count, [THREADS // LANES, LANES])
    mean = tl.reshape(mean, [THREADS // LANES, LANES])
    deviation = tl.reshape(deviation, [THREADS // LANES, LANES])
    units = tl.maximum(tl.minimum(UNITS - place % SHARES * LANES, LANES), 0).to(tl.float32)
    total = units * COUNT if COUNT > 0 else tl.sum(count, 1)
    mean, deviation = joined(count, mean, deviation, total, 1)
    image = place // SHARES // GC
    c = place // SHARES - image * GC
    first = pid // PROGRAMS * GROUP
    row = (first + image).to(tl.int64) * SHARES + place % SHARES
    exists = (image < GROUP) & (first + image < N)
    write_row(moments, counts, row, FIRST + c, exists, c == 0, total, mean, deviation, C, PART)


@triton.jit
def copy_planes(
    x, y, moments, counts, pid, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, GC: tl.constexpr,
    X_STRIDE: tl.constexpr, COPY: tl.constexpr, LANES: tl.constexpr, IMAGES: tl.constexpr,
):  # fmt: skip
    """Copy COPY elements of the identity of IMAGES images, LANES of each plane, and write their moments.

    IMAGES divides N.
    """
    COPIED: tl.constexpr = C - 3 * GC
    SHARES: tl.constexpr = (H * W + LANES - 1) // LANES
    BLOCKS: tl.constexpr = (COPIED * SHARES + COPY // LANES - 1) // (COPY // LANES)
    group = (pid // BLOCKS).to(tl.int64)
    place = pid % BLOCKS * (COPY // LANES) + tl.arange(0, COPY // LANES)
    c = place // SHARES
    i = (place % SHARES * LANES)[:, None] + tl.arange(0, LANES)[None, :]
    m = (c < COPIED)[:, None] & (i < H * W)
    # In 64 bits what differs between the places of one thread is a part of the instruction.
    offsets = (c.to(tl.int64) * (H * W))[:, None] + i
    x += group * IMAGES * X_STRIDE
    y += group * IMAGES * (C * H * W)
    values = tl.load(x + offsets, mask=m, other=0.0)
    first = as_stored(y, values)
    total = tl.zeros([COPY // LANES, LANES], tl.float32)
    squares = total
    for image in tl.static_range(IMAGES):
        # The next image is on its way while this one is added.
        x += X_STRIDE
        upcoming = tl.load(x + offsets, mask=m, other=0.0) if image + 1 < IMAGES else values
        apart = as_stored(y, values) - first
        total += apart
        squares += apart * apart
        tl.store(y + offsets, values.to(y.dtype.element_ty), mask=m)
        y += C * H * W
        values = upcoming
    mean = total * (1.0 / IMAGES)
    count = tl.minimum(H * W - place % SHARES * LANES, LANES).to(tl.float32) * IMAGES
    weight = tl.where(m, 1.0 * IMAGES, 0.0)
    mean, deviation = joined(weight, first + mean, squares - total * mean, count, 1)
    row = group * SHARES + place % SHARES
    write_row(moments, counts, row, c, c < COPIED, c == 0, count, mean, deviation, C, 0)
