"""How a thread of the channels_last kernels finds its run of positions and loads what lies around it; and the copy.

A run is SHARE neighbouring positions of a row or of a column of one image. Threads next to each other hold channels
next to each other, VECTOR of them each, so that tensors are [threads, VECTOR].
"""

# Triton's tuples grow by + alone, its functions are typed by their callers.
# ruff: noqa: RUF005
# mypy: disallow-untyped-decorators=False, disable-error-code="no-untyped-def, assignment"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def identity(
    x, y, program, N, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, COPIED: tl.constexpr,
    X_IMAGE: tl.constexpr, X_PIXEL: tl.constexpr, VECTOR: tl.constexpr, COUNT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Copies the first COPIED channels of BLOCK x COUNT vectors; y is dense. The last vector is copied repeatedly."""
    A_PIXEL: tl.constexpr = COPIED // VECTOR
    first = program.to(tl.int64) * (BLOCK * COUNT)
    pixel = first // A_PIXEL
    # Behind the first pixel of the program everything fits 32 bits, and unsigned divisions are the cheaper ones.
    behind = (first - pixel * A_PIXEL).to(tl.uint32) + tl.arange(0, BLOCK)[:, None].to(tl.uint32)
    vectors = (N.to(tl.int64) * (H * W) - pixel) * A_PIXEL
    last = tl.minimum(vectors, BLOCK * COUNT + A_PIXEL).to(tl.uint32) - 1
    lane = tl.arange(0, VECTOR)[None, :]
    values = ()
    for j in tl.static_range(COUNT):
        v = tl.minimum(behind + j * BLOCK, last)
        p = v // A_PIXEL
        c = (v - p * A_PIXEL) * VECTOR + lane
        if X_IMAGE == H * W * X_PIXEL:
            values = values + (tl.load(x + pixel * X_PIXEL + (p * X_PIXEL + c)),)
        else:
            image = (pixel + p) // (H * W)
            values = values + (tl.load(x + image * X_IMAGE + (pixel + p - image * (H * W)) * X_PIXEL + c),)
    for j in tl.static_range(COUNT):
        v = tl.minimum(behind + j * BLOCK, last)
        p = v // A_PIXEL
        c = (v - p * A_PIXEL) * VECTOR + lane
        tl.store(y + pixel * C + (p * C + c), values[j].to(y.dtype.element_ty))


@triton.jit
def places_of(N, ROW: tl.constexpr, H: tl.constexpr, W: tl.constexpr, SHARE: tl.constexpr):
    """How many runs of SHARE positions the lines of N images have."""
    return N * ((H if ROW else W) * (((W if ROW else H) + SHARE - 1) // SHARE))


@triton.jit
def position_of(place, ROW: tl.constexpr, H: tl.constexpr, W: tl.constexpr, SHARE: tl.constexpr):
    """(image, row, column) of the first of SHARE positions, numbered along rows (ROW) or along bands of columns."""
    SEGMENTS: tl.constexpr = ((W if ROW else H) + SHARE - 1) // SHARE
    # Unsigned divisions are the cheaper ones.
    place = place.to(tl.uint32)
    if ROW:
        line = place // SEGMENTS
        column = (place - line * SEGMENTS) * SHARE
        image = line // H
        row = line - image * H
    else:
        band = place // W
        column = place - band * W
        image = band // SEGMENTS
        row = (band - image * SEGMENTS) * SHARE
    return image.to(tl.int64), row.to(tl.int32), column.to(tl.int32)


@triton.jit
def inside(start, PLACE: tl.constexpr, LENGTH: tl.constexpr, SHARE: tl.constexpr):
    """Whether start + PLACE is on the line. start is a multiple of SHARE: few masks differ, many are constant."""
    if PLACE < 0:
        m = start >= (SHARE - 1 - PLACE) // SHARE * SHARE
    elif LENGTH % SHARE != 0:
        m = start < LENGTH - PLACE
    elif PLACE >= SHARE:
        m = start < (LENGTH - PLACE + SHARE - 1) // SHARE * SHARE
    else:
        m = tl.full((1, 1), True, tl.int1)
    return m


@triton.jit
def load_line(x, start, m, STEP: tl.constexpr, LENGTH: tl.constexpr, SHARE: tl.constexpr, REACH: tl.constexpr):
    """The SHARE + 2 REACH positions around a run: 0 outside the line and where m is not, not loaded if none exist."""
    values = ()
    for i in tl.static_range(SHARE + 2 * REACH):
        if (SHARE == LENGTH) and ((i < REACH) or (i >= REACH + LENGTH)):
            values = values + (tl.zeros((1, 1), tl.float32),)
        else:
            m_in = m & inside(start, i - REACH, LENGTH, SHARE)
            values = values + (tl.load(x + (i - REACH) * STEP, mask=m_in, other=0.0).to(tl.float32),)
    return values


@triton.jit
def load_square(
    x, row, column, m, STEP: tl.constexpr, H: tl.constexpr, W: tl.constexpr, SHARE: tl.constexpr,
    REACH: tl.constexpr,
):  # fmt: skip
    """(SHARE + 2 REACH) x (1 + 2 REACH) positions around a run down a column, row by row; 0 as in `load_line`."""
    values = ()
    for i in tl.static_range(SHARE + 2 * REACH):
        for j in tl.static_range(1 + 2 * REACH):
            if (SHARE == H) and ((i < REACH) or (i >= REACH + H)):
                values = values + (tl.zeros((1, 1), tl.float32),)
            else:
                m_in = m & inside(row, i - REACH, H, SHARE) & inside(column, j - REACH, W, 1)
                pointer = x + ((i - REACH) * W + (j - REACH)) * STEP
                values = values + (tl.load(pointer, mask=m_in, other=0.0).to(tl.float32),)
    return values


@triton.jit
def load_taps(weight, c, TAPS: tl.constexpr):
    """The taps of each thread's channels, in float32, from PyTorch's [g, 1, kh, kw]."""
    taps = ()
    for t in tl.static_range(TAPS):
        taps = taps + (tl.load(weight + c * TAPS + t).to(tl.float32),)
    return taps
