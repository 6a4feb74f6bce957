"""y = cat(x_i, conv_sxs(x_s), conv_1xk(x_r), conv_kx1(x_c)) where the channels of a pixel are neighbours in memory.

One launch, four parts. A program belongs to one part and its threads to units of it:

- copy: COPY_COUNT vectors of identity channels a thread, all loaded before the first is stored;
- row, column: SHARE outputs along the line, VECTOR channels wide; a thread keeps its taps and inputs in registers, so
  that each input is loaded once a thread; taps that fall outside a line which one thread owns whole are not compiled;
- square: SHARE_SQUARE outputs down one column, VECTOR channels wide.

Programs of the parts take turns (TURN_*), in proportion to their numbers: all parts walk through memory at one pace, so
that sectors which narrow channel groups share meet in the L2 cache, and copies fill the gaps of the arithmetic. Units
behind the last one repeat it without storing, so that inner loads need no mask.
"""

# Triton's functions are typed by their callers.
# mypy: disallow-untyped-decorators=False, disable-error-code="no-untyped-def, assignment"

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import triton_statistics
from .launch import Plan, Variant, signature_of, variants_of
from .triton_nhwc_runs import identity, load_line, load_square, load_taps, places_of, position_of
from .triton_nhwc_statistics import copy_pixels, place_across, write_tile
from .triton_statistics import join_rows, moment_tensors, no_moments, with_values


@triton.jit
def _unit_of(
    program, N, ROW: tl.constexpr, H: tl.constexpr, W: tl.constexpr, G: tl.constexpr, SHARE: tl.constexpr,
    BLOCK: tl.constexpr, VECTOR: tl.constexpr, ACROSS: tl.constexpr,
):  # fmt: skip
    """(image, row, column, channels, is a unit, may load) of each thread's first output. ACROSS 0: units in a row."""
    GROUPS: tl.constexpr = G // VECTOR
    places = places_of(N, ROW, H, W, SHARE)
    if ACROSS > 0:
        place, group, exists = place_across(program, places, G, BLOCK, VECTOR, ACROSS)
        loads = exists
    else:
        units = places * GROUPS
        thread = program * BLOCK + tl.arange(0, BLOCK)[:, None]
        unit = tl.minimum(thread, units - 1).to(tl.uint32)
        place = unit // GROUPS
        group = (unit - place * GROUPS).to(tl.int32)
        exists = thread < units
        loads = tl.full((1, 1), True, tl.int1)
    image, row, column = position_of(place, ROW, H, W, SHARE)
    return image, row, column, group * VECTOR + tl.arange(0, VECTOR)[None, :], exists, loads


@triton.jit
def load_bias(bias, c, BIAS: tl.constexpr, BLOCK: tl.constexpr, VECTOR: tl.constexpr):
    """What the sums of a unit begin with: the bias, or 0 where there is none."""
    value = tl.zeros((BLOCK, VECTOR), tl.float32)
    if BIAS:
        value += tl.load(bias + c).to(tl.float32)
    return value


@triton.jit
def _band(
    x, weight, bias, y, c, start, m, loads, X_STEP: tl.constexpr, Y_STEP: tl.constexpr, LENGTH: tl.constexpr,
    SHARE: tl.constexpr, K: tl.constexpr, BIAS: tl.constexpr, BLOCK: tl.constexpr, VECTOR: tl.constexpr,
    STATISTICS: tl.constexpr,
):  # fmt: skip
    """Write the outputs of a run; return the moments of each thread's, where they are asked for."""
    REACH: tl.constexpr = K // 2
    taps = load_taps(weight, c, K)
    begin = load_bias(bias, c, BIAS, BLOCK, VECTOR)
    found = no_moments(BLOCK, VECTOR)
    inputs = load_line(x, start, loads, X_STEP, LENGTH, SHARE, REACH)
    for s in tl.static_range(SHARE):
        total = begin
        for t in tl.static_range(K):
            if (SHARE != LENGTH) or ((s + t >= REACH) and (s + t < REACH + LENGTH)):
                total += taps[t] * inputs[s + t]
        m_out = m
        if LENGTH % SHARE != 0:
            m_out = m & (start + s < LENGTH)
        tl.store(y + s * Y_STEP, total.to(y.dtype.element_ty), mask=m_out)
        if STATISTICS:
            found = with_values(found, y, total, m_out, s == 0, LENGTH % SHARE == 0)
    return found


@triton.jit
def _square(
    x, weight, bias, y, c, row, column, m, loads, X_PIXEL: tl.constexpr, C: tl.constexpr, H: tl.constexpr,
    W: tl.constexpr, SHARE: tl.constexpr, K: tl.constexpr, BIAS: tl.constexpr, BLOCK: tl.constexpr,
    VECTOR: tl.constexpr, STATISTICS: tl.constexpr,
):  # fmt: skip
    """As `_band`, down a column."""
    REACH: tl.constexpr = K // 2
    taps = load_taps(weight, c, K * K)
    begin = load_bias(bias, c, BIAS, BLOCK, VECTOR)
    found = no_moments(BLOCK, VECTOR)
    inputs = load_square(x, row, column, loads, X_PIXEL, H, W, SHARE, REACH)
    for s in tl.static_range(SHARE):
        total = begin
        for i in tl.static_range(K):
            if (SHARE != H) or ((s + i >= REACH) and (s + i < REACH + H)):
                for j in tl.static_range(K):
                    total += taps[i * K + j] * inputs[(s + i) * K + j]
        m_out = m
        if H % SHARE != 0:
            m_out = m & (row + s < H)
        tl.store(y + s * W * C, total.to(y.dtype.element_ty), mask=m_out)
        if STATISTICS:
            found = with_values(found, y, total, m_out, s == 0, H % SHARE == 0)
    return found


@triton.jit
def _exists(program, N, ROW: tl.constexpr, H: tl.constexpr, W: tl.constexpr, G: tl.constexpr, SHARE: tl.constexpr,
    BLOCK: tl.constexpr, VECTOR: tl.constexpr, ACROSS: tl.constexpr,
):  # fmt: skip
    """Whether a program has units: only the last round of turns has programs behind the last one."""
    places = places_of(N, ROW, H, W, SHARE)
    if ACROSS > 0:
        exists = program // ((G // VECTOR + ACROSS - 1) // ACROSS) * (BLOCK // ACROSS) < places
    else:
        exists = program * BLOCK < places * (G // VECTOR)
    return exists


@triton.jit(do_not_specialize=["N"])
def forward_kernel(
    x, w_square, w_row, w_column, b_square, b_row, b_column, y, moments, counts, N, H: tl.constexpr, W: tl.constexpr,
    C: tl.constexpr, G: tl.constexpr, K_SQUARE: tl.constexpr, K_BAND: tl.constexpr, X_IMAGE: tl.constexpr,
    X_PIXEL: tl.constexpr, BIAS: tl.constexpr, STATISTICS: tl.constexpr, VECTOR: tl.constexpr, ACROSS: tl.constexpr,
    SHARE_ROW: tl.constexpr, SHARE_COLUMN: tl.constexpr, SHARE_SQUARE: tl.constexpr, COPY_VECTOR: tl.constexpr,
    COPY_COUNT: tl.constexpr, COPY_PIXELS: tl.constexpr, COPY_CHANNELS: tl.constexpr, COPY_STEPS: tl.constexpr,
    COPY_WHOLE: tl.constexpr, TURN_ROW: tl.constexpr, TURN_COLUMN: tl.constexpr, TURN_SQUARE: tl.constexpr,
    TURN_COPY: tl.constexpr, BLOCK: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """PART: -1 is what ships; 0, 1, 2, 3 are copy, square, row, column alone, for counting. N images of H x W x C.

    ACROSS and COPY_PIXELS to COPY_WHOLE: with statistics alone; COPY_VECTOR and COPY_COUNT: without.
    """
    COPIED: tl.constexpr = C - 3 * G
    AFTER_COLUMN: tl.constexpr = TURN_ROW + TURN_COLUMN
    AFTER_SQUARE: tl.constexpr = AFTER_COLUMN + TURN_SQUARE
    turn = tl.program_id(0) // (AFTER_SQUARE + TURN_COPY)
    place = tl.program_id(0) - turn * (AFTER_SQUARE + TURN_COPY)
    if PART == -1 or PART == 2:
        program = turn * TURN_ROW + place
        if (place < TURN_ROW) & _exists(program, N, True, H, W, G, SHARE_ROW, BLOCK, VECTOR, ACROSS):
            image, row, column, c, m, loads = _unit_of(program, N, True, H, W, G, SHARE_ROW, BLOCK, VECTOR, ACROSS)
            pixel = row * W + column
            x_row = x + image * X_IMAGE + (pixel * X_PIXEL + COPIED + G + c)
            y_row = y + image * (H * W * C) + (pixel * C + COPIED + G + c)
            found = _band(
                x_row, w_row, b_row, y_row, c, column, m, loads,
                X_PIXEL, C, W, SHARE_ROW, K_BAND, BIAS, BLOCK, VECTOR, STATISTICS,
            )  # fmt: skip
            if STATISTICS:
                write_tile(
                    moments, counts, found, m, program, places_of(N, True, H, W, SHARE_ROW), COPIED + G, C, G,
                    2, SHARE_ROW if W % SHARE_ROW == 0 else 0, BLOCK, VECTOR, ACROSS,
                )  # fmt: skip
    if PART == -1 or PART == 3:
        program = turn * TURN_COLUMN + place - TURN_ROW
        mine = (place >= TURN_ROW) & (place < AFTER_COLUMN)
        if mine & _exists(program, N, False, H, W, G, SHARE_COLUMN, BLOCK, VECTOR, ACROSS):
            image, row, column, c, m, loads = _unit_of(program, N, False, H, W, G, SHARE_COLUMN, BLOCK, VECTOR, ACROSS)
            pixel = row * W + column
            x_column = x + image * X_IMAGE + (pixel * X_PIXEL + COPIED + 2 * G + c)
            y_column = y + image * (H * W * C) + (pixel * C + COPIED + 2 * G + c)
            found = _band(
                x_column, w_column, b_column, y_column, c, row, m, loads,
                W * X_PIXEL, W * C, H, SHARE_COLUMN, K_BAND, BIAS, BLOCK, VECTOR, STATISTICS,
            )  # fmt: skip
            if STATISTICS:
                write_tile(
                    moments, counts, found, m, program, places_of(N, False, H, W, SHARE_COLUMN), COPIED + 2 * G, C, G,
                    3, SHARE_COLUMN if H % SHARE_COLUMN == 0 else 0, BLOCK, VECTOR, ACROSS,
                )  # fmt: skip
    if PART == -1 or PART == 1:
        program = turn * TURN_SQUARE + place - AFTER_COLUMN
        mine = (place >= AFTER_COLUMN) & (place < AFTER_SQUARE)
        if mine & _exists(program, N, False, H, W, G, SHARE_SQUARE, BLOCK, VECTOR, ACROSS):
            image, row, column, c, m, loads = _unit_of(program, N, False, H, W, G, SHARE_SQUARE, BLOCK, VECTOR, ACROSS)
            pixel = row * W + column
            x_square = x + image * X_IMAGE + (pixel * X_PIXEL + COPIED + c)
            y_square = y + image * (H * W * C) + (pixel * C + COPIED + c)
            found = _square(
                x_square, w_square, b_square, y_square, c, row, column, m, loads,
                X_PIXEL, C, H, W, SHARE_SQUARE, K_SQUARE, BIAS, BLOCK, VECTOR, STATISTICS,
            )  # fmt: skip
            if STATISTICS:
                write_tile(
                    moments, counts, found, m, program, places_of(N, False, H, W, SHARE_SQUARE), COPIED, C, G,
                    1, SHARE_SQUARE if H % SHARE_SQUARE == 0 else 0, BLOCK, VECTOR, ACROSS,
                )  # fmt: skip
    if TURN_COPY > 0 and (PART == -1 or PART == 0):
        program = turn * TURN_COPY + place - AFTER_SQUARE
        if STATISTICS:
            tile = program // ((COPIED + COPY_CHANNELS - 1) // COPY_CHANNELS)
            if (place >= AFTER_SQUARE) & (tile.to(tl.int64) * (COPY_PIXELS * COPY_STEPS) < N.to(tl.int64) * (H * W)):
                copy_pixels(
                    x, y, moments, counts, program, N, H, W, C, COPIED, X_IMAGE, X_PIXEL,
                    COPY_PIXELS, COPY_CHANNELS, COPY_STEPS, COPY_WHOLE,
                )  # fmt: skip
        else:
            exists = program.to(tl.int64) * (BLOCK * COPY_COUNT) < N.to(tl.int64) * (H * W * (COPIED // COPY_VECTOR))
            if (place >= AFTER_SQUARE) & exists:
                identity(x, y, program, N, H, W, C, COPIED, X_IMAGE, X_PIXEL, COPY_VECTOR, COPY_COUNT, BLOCK)


def strides(x: Tensor) -> dict[str, int]:
    """X_IMAGE and X_PIXEL of a call: elements between images and between pixels of x, maybe a slice of channels."""
    _, channels, height, width = x.shape
    # The stride of a dimension of one element means nothing.
    pixel = x.stride(3) if width > 1 else x.stride(2) if height > 1 else channels
    return {"X_IMAGE": x.stride(0) if x.shape[0] > 1 else height * width * pixel, "X_PIXEL": pixel}


def forward(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], plan: Plan, out_dtype: torch.dtype
) -> Tensor:
    """y, dense in channels_last, for x [N, C, H, W] of which the channels are dense and the rows follow each other.

    biases: three, or none.
    """
    y = torch.empty(x.shape, dtype=out_dtype, device=x.device, memory_format=torch.channels_last)
    _launch(x, weights, biases, plan, y, ())
    return y


def forward_with_statistics(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], plan: Plan, out_dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, means, variances) likewise, for a plan of direction "statistics"."""
    y = torch.empty(x.shape, dtype=out_dtype, device=x.device, memory_format=torch.channels_last)
    rows = moment_tensors(plan, x.device)
    _launch(x, weights, biases, plan, y, rows)
    return y, *join_rows(*rows, plan)


def _launch(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], plan: Plan, y: Tensor, rows: Sequence[Tensor]
) -> None:
    weights, biases = [weight.contiguous() for weight in weights], [bias.contiguous() for bias in biases]
    # Without biases or rows for statistics the kernel gets pointers that it never follows.
    arguments = (x, *weights, *(biases or weights), y, *(rows or weights[:2]), x.shape[0])
    constants = {**plan.constants, **strides(x)}
    forward_kernel[(plan.programs,)](*arguments, **constants, BIAS=bool(biases), PART=-1, **plan.options)


def variants(
    plan: Plan, dtype: torch.dtype, out_dtype: torch.dtype | None = None, weight_dtype: torch.dtype | None = None
) -> list[Variant]:
    """What the static checks compile: PART -1, which is what `forward` launches, and each part that has programs."""
    weight = weight_dtype or dtype
    out, single = out_dtype or dtype, torch.float32
    signature = signature_of(forward_kernel, [dtype, *[weight] * 6, out, *[single if plan.rows else weight] * 2, "i32"])
    found = variants_of(forward_kernel, signature, {**plan.constants, "BIAS": True}, plan)
    return [*found, *triton_statistics.variants(plan)] if plan.rows else found
