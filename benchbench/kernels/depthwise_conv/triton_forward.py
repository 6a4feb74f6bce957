"""Forward of the depthwise convolution, and its gradient for the input: a sliding window, or a loop over tap rows.

y[n, c, h, w] = bias[c] + sum over i, j of weight[c, i, j] x[n, c, h + i - KH // 2, w + j - KW // 2]

The first ``convolving`` programs each compute T units of S rows and V columns (triton_window.py); the others copy the
identity channels. With FLIPPED the taps are turned round, which makes it the gradient of the input.
"""

# Triton's tuples grow by + alone, its functions are typed by their callers.
# ruff: noqa: RUF005
# mypy: disallow-untyped-decorators=False, disable-error-code="no-untyped-def, assignment"

from __future__ import annotations

import triton
import triton.language as tl

from .triton_window import (
    columns_inside,
    copy_channels,
    correlate,
    load_row,
    load_window_row,
    output_row,
    part_of,
    spread,
    spread_window_row,
    store_row,
)


@triton.jit(do_not_specialize=["images", "convolving"])
def depthwise_conv_forward(
    x, weight, bias, y, images, convolving,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, FIRST: tl.constexpr,
    X_STRIDE: tl.constexpr, X_PIXEL: tl.constexpr, Y_PIXEL: tl.constexpr,
    KH: tl.constexpr, KW: tl.constexpr, HAS_BIAS: tl.constexpr, FLIPPED: tl.constexpr, LOOP: tl.constexpr,
    S: tl.constexpr, V: tl.constexpr, U: tl.constexpr, E: tl.constexpr, AHEAD: tl.constexpr,
    T: tl.constexpr, B: tl.constexpr, COPY: tl.constexpr, COPIES: tl.constexpr, CHANNELS: tl.constexpr,
    PART: tl.constexpr,
):  # fmt: skip
    """x and y are (images, C, H, W), X_STRIDE elements an image of x; *_PIXEL is 0 channels first.

    PART -1 ships; 0 and 1 are the copy and the convolution alone, for counting.
    """
    program = tl.program_id(0)
    if program < convolving:
        if PART != 0:
            convolve(
                x, weight, bias, y, images, program, C, H, W, FIRST, X_STRIDE, X_PIXEL, Y_PIXEL,
                KH, KW, HAS_BIAS, FLIPPED, LOOP, S, V, U, E, AHEAD, T, B,
            )  # fmt: skip
    else:
        if PART != 1:
            copy_channels(
                x, y, program - convolving, C, H, W, FIRST, X_STRIDE, X_PIXEL, Y_PIXEL, COPY, COPIES, CHANNELS
            )


@triton.jit
def convolve(
    x, weight, bias, y, images, program, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, FIRST: tl.constexpr,
    X_STRIDE: tl.constexpr, X_PIXEL: tl.constexpr, Y_PIXEL: tl.constexpr,
    KH: tl.constexpr, KW: tl.constexpr, HAS_BIAS: tl.constexpr, FLIPPED: tl.constexpr, LOOP: tl.constexpr,
    S: tl.constexpr, V: tl.constexpr, U: tl.constexpr, E: tl.constexpr, AHEAD: tl.constexpr,
    T: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """T units; channels last, of B channels each."""
    G: tl.constexpr = C - FIRST
    HB: tl.constexpr = (H + S - 1) // S
    WB: tl.constexpr = (W + V - 1) // V
    A: tl.constexpr = ((KW // 2 + E - 1) // E) * E if WB > 1 else 0
    if X_PIXEL == 0:
        unit = program * T + tl.arange(0, T)
        channel = unit // (WB * HB) % G
        image = unit // (WB * HB * G)
    else:
        BLOCKS: tl.constexpr = (G + B - 1) // B
        unit = program // BLOCKS * T + tl.arange(0, T)[:, None]
        channel = tl.broadcast_to(program % BLOCKS * B + tl.arange(0, B)[None, :], (T, B))
        image = unit // (WB * HB)
    column = unit % WB * V
    top = unit // WB % HB * S
    m = (image < images) & (channel < G)

    source = x + image.to(tl.int64) * X_STRIDE + offset_in_image(channel + FIRST, top, column, H, W, X_PIXEL)
    target = y + image.to(tl.int64) * (C * H * W) + offset_in_image(channel + FIRST, top, column, H, W, Y_PIXEL)
    insides = columns_inside(column, W, WB, V, A)
    start = tl.zeros(channel.shape, tl.float32)
    if HAS_BIAS:
        start = tl.load(bias + channel, mask=channel < G, other=0.0).to(tl.float32)

    if LOOP:
        sums = ()
        for _ in tl.static_range(S * V):
            sums = sums + (start,)
        for i in range(KH):
            row = KH - 1 - i if FLIPPED else i
            taps = load_taps(weight + channel * (KH * KW) + row * KW, channel < G, KW, FLIPPED)
            sums = add_tap_row(sums, source, column, m, top, insides, taps, i, X_PIXEL, H, W, KH, KW, S, WB, V, U, A, E)
        for s in tl.static_range(S):
            store_row(target, column, m, top, part_of(sums, s * V, V), s, Y_PIXEL, H, W, S, V, U)
    else:
        taps = load_taps(weight + channel * (KH * KW), channel < G, KH * KW, FLIPPED)
        waiting = ()
        rows = ()
        # AHEAD rows are under way while one is multiplied: a store is a bound that no later load crosses.
        for r in tl.static_range(S + KH - 1 + AHEAD):
            if r < S + KH - 1:
                parts = load_window_row(source, column, m, top, r - KH // 2, X_PIXEL, H, W, HB, WB, V, U, A, E)
                waiting = waiting + (parts,)
            if r >= AHEAD:
                lanes = spread_window_row(waiting[r - AHEAD], r - AHEAD - KH // 2, X_PIXEL, H, HB, V, U, A, E)
                rows = rows + (lanes,)
            if r >= AHEAD + KH - 1:
                out = output_row(start, rows, insides, taps, top, r - AHEAD - KH + 1, H, W, KH, KW, S, HB, WB, V, A)
                store_row(target, column, m, top, out, r - AHEAD - KH + 1, Y_PIXEL, H, W, S, V, U)


@triton.jit
def offset_in_image(channel, row, column, H: tl.constexpr, W: tl.constexpr, PIXEL: tl.constexpr):
    if PIXEL == 0:
        return channel * (H * W) + row * W + column
    else:
        return channel + (row * W + column) * PIXEL


@triton.jit
def load_taps(taps, m, LENGTH: tl.constexpr, FLIPPED: tl.constexpr):
    """LENGTH taps in fp32, one tensor each, in order or from the last to the first."""
    loaded = ()
    for k in tl.static_range(LENGTH):
        loaded = loaded + (tl.load(taps + (LENGTH - 1 - k if FLIPPED else k), mask=m, other=0.0).to(tl.float32),)
    return loaded


@triton.jit
def add_tap_row(
    sums, source, column, m, top, insides, taps, i, PIXEL: tl.constexpr,
    H: tl.constexpr, W: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, S: tl.constexpr,
    WB: tl.constexpr, V: tl.constexpr, U: tl.constexpr, A: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """The S * V sums plus what row ``i`` of the taps adds to each."""
    STEP: tl.constexpr = W * PIXEL if PIXEL > 0 else W
    more = ()
    for s in tl.static_range(S):
        inside = (top + s + i - KH // 2 >= 0) & (top + s + i - KH // 2 < H)
        parts = load_row(source + (s + i - KH // 2) * STEP, column, m & inside, PIXEL, W, WB, V, U, A, E)
        lanes = spread(parts, PIXEL, V, U, A, E)
        for v in tl.static_range(V):
            y = correlate(sums[s * V + v], lanes, insides, taps, 0, v, KW, W, WB, V, A)
            more = more + (tl.where(inside, y, sums[s * V + v]),)
    return more
