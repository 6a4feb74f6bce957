"""How programs of the channels_last forward pass give the moments of the channels they hold; see `triton_statistics`.

As in the backward pass, ACROSS threads of a branch program hold neighbouring channels and the others further runs of
positions of the same ones. The identity is copied in blocks of pixels by CHANNELS, STEPS of them a program.
"""

# Triton's functions are typed by their callers.
# mypy: disallow-untyped-decorators=False, disable-error-code="no-untyped-def, assignment"

from __future__ import annotations

import triton
import triton.language as tl

from .triton_statistics import as_stored, finished, joined, write_row


@triton.jit
def place_across(
    program, places, G: tl.constexpr, BLOCK: tl.constexpr, VECTOR: tl.constexpr, ACROSS: tl.constexpr
):  # fmt: skip
    """(run of positions, group of channels, whether there are such) of each thread."""
    GROUPS: tl.constexpr = G // VECTOR
    SLICES: tl.constexpr = (GROUPS + ACROSS - 1) // ACROSS
    thread = tl.arange(0, BLOCK)[:, None]
    tile = program // SLICES
    place = tile * (BLOCK // ACROSS) + thread // ACROSS
    group = (program - tile * SLICES) * ACROSS + thread % ACROSS
    return tl.minimum(place, places - 1), tl.minimum(group, GROUPS - 1), (place < places) & (group < GROUPS)


@triton.jit
def write_tile(
    moments, counts, found, m, program, places, FIRST: tl.constexpr, C: tl.constexpr, G: tl.constexpr,
    PART: tl.constexpr, COUNT: tl.constexpr, BLOCK: tl.constexpr, VECTOR: tl.constexpr, ACROSS: tl.constexpr,
):  # fmt: skip
    """Join the threads that hold the same channels and write the program's row. COUNT: as `finished` takes it."""
    RUNS: tl.constexpr = BLOCK // ACROSS
    SLICES: tl.constexpr = (G // VECTOR + ACROSS - 1) // ACROSS
    tile = program // SLICES
    count, mean, deviation = finished(found, m, COUNT)
    count = tl.reshape(tl.broadcast_to(count, (BLOCK, VECTOR)), (RUNS, ACROSS, VECTOR))
    mean = tl.reshape(mean, (RUNS, ACROSS, VECTOR))
    deviation = tl.reshape(deviation, (RUNS, ACROSS, VECTOR))
    if COUNT > 0:
        total = tl.full((ACROSS, VECTOR), 1.0 * COUNT, tl.float32) * tl.minimum(places - tile * RUNS, RUNS)
    else:
        total = tl.sum(count, 0)
    mean, deviation = joined(count, mean, deviation, total, 0)
    first = (program - tile * SLICES) * (ACROSS * VECTOR)
    c = first + tl.arange(0, ACROSS)[:, None] * VECTOR + tl.arange(0, VECTOR)[None, :]
    write_row(moments, counts, tile.to(tl.int64), FIRST + c, c < G, c == 0, total, mean, deviation, C, PART)


@triton.jit
def copy_pixels(
    x, y, moments, counts, program, N, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, COPIED: tl.constexpr,
    X_IMAGE: tl.constexpr, X_PIXEL: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr, STEPS: tl.constexpr,
    WHOLE: tl.constexpr,
):  # fmt: skip
    """Copy STEPS times PIXELS x CHANNELS of the first COPIED channels and write their moments; y is dense.

    WHOLE: all programs have as many pixels.
    """
    SLICES: tl.constexpr = (COPIED + CHANNELS - 1) // CHANNELS
    tile = program // SLICES
    c = (program - tile * SLICES) * CHANNELS + tl.arange(0, CHANNELS)
    start = tile.to(tl.int64) * (STEPS * PIXELS)
    pixel = start + tl.arange(0, PIXELS)
    last = N.to(tl.int64) * (H * W)
    m_c = (c < COPIED)[None, :]
    m = m_c if WHOLE else m_c & (pixel < last)[:, None]
    values = tl.load(x + _pixels_of(pixel, c, H, W, X_IMAGE, X_PIXEL), mask=m, other=0.0)
    begin = values
    first = as_stored(y, values)
    count = tl.zeros([PIXELS, 1], tl.float32)
    total = tl.zeros([PIXELS, CHANNELS], tl.float32)
    squares = total
    for step in tl.static_range(STEPS):
        upcoming = values
        m_next = m
        if step + 1 < STEPS:
            # The next pixels are on their way while these are added. Those that do not exist are no distance away.
            places = _pixels_of(pixel + (step + 1) * PIXELS, c, H, W, X_IMAGE, X_PIXEL)
            if WHOLE:
                upcoming = tl.load(x + places, mask=m_c, other=0.0)
            else:
                m_next = m_c & (pixel + (step + 1) * PIXELS < last)[:, None]
                upcoming = tl.load(x + places, mask=m_next, other=begin)
        apart = as_stored(y, values) - first
        total += apart
        squares += apart * apart
        if not WHOLE:
            count += tl.where(pixel + step * PIXELS < last, 1.0, 0.0)[:, None]
        out = y + ((pixel + step * PIXELS) * C)[:, None] + c[None, :]
        tl.store(out, values.to(y.dtype.element_ty), mask=m)
        values = upcoming
        m = m_next
    if WHOLE:
        count += STEPS
    mean = total / tl.maximum(count, 1.0)
    elements = tl.sum(count)
    mean, deviation = joined(
        tl.broadcast_to(count, (PIXELS, CHANNELS)), first + mean, squares - total * mean, elements, 0
    )
    write_row(moments, counts, tile.to(tl.int64), c, c < COPIED, c == 0, elements, mean, deviation, C, 0)


@triton.jit
def _pixels_of(pixel, c, H: tl.constexpr, W: tl.constexpr, X_IMAGE: tl.constexpr, X_PIXEL: tl.constexpr):
    """Where pixels of x and channels of them are."""
    if X_IMAGE == H * W * X_PIXEL:
        places = pixel * X_PIXEL
    else:
        image = pixel // (H * W)
        places = image * X_IMAGE + (pixel - image * (H * W)) * X_PIXEL
    return places[:, None] + c[None, :]
