"""Backward of the depthwise convolution: the gradients of input, weights and bias in one pass over input and gradient.

grad_x[n, c, h, w] = sum over i, j of weight[c, KH - 1 - i, KW - 1 - j] g[n, c, h + i - KH // 2, w + j - KW // 2]
grad_weight[c, KH - 1 - i, KW - 1 - j] = sum over n, h, w of x[n, c, h, w] g[n, c, h + i - KH // 2, w + j - KW // 2]
grad_bias[c] = sum over n, h, w of g[n, c, h, w]

A program owns B channels and takes ROUNDS times T units of them (channels first: T / B units a channel). It reads the
window of g once and x once, without halo, and writes one partial sum a tap; ``sum_partials`` adds those up in a fixed
order. With more taps than registers the input's gradient is the forward kernel with FLIPPED, and
``depthwise_conv_weight_gradient`` takes R rows of the taps a program.
"""

# Triton's tuples grow by + alone, its functions are typed by their callers.
# ruff: noqa: RUF005, SIM108
# mypy: disallow-untyped-decorators=False, disable-error-code="no-untyped-def, assignment"

from __future__ import annotations

import triton
import triton.language as tl

from .triton_forward import load_taps, offset_in_image
from .triton_window import (
    apart,
    columns_inside,
    copy_channels,
    load_pixel,
    load_row,
    load_vector,
    load_window_row,
    output_row,
    part_of,
    spread,
    spread_window_row,
    store_row,
)


@triton.jit(do_not_specialize=["images", "convolving"])
def depthwise_conv_backward(
    x, grad_y, weight, grad_x, partials, images, convolving,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, FIRST: tl.constexpr,
    X_STRIDE: tl.constexpr, X_PIXEL: tl.constexpr, G_STRIDE: tl.constexpr, G_PIXEL: tl.constexpr, Y_PIXEL: tl.constexpr,
    KH: tl.constexpr, KW: tl.constexpr, S: tl.constexpr, V: tl.constexpr, U: tl.constexpr, E: tl.constexpr,
    T: tl.constexpr, B: tl.constexpr, ROUNDS: tl.constexpr,
    COPY: tl.constexpr, COPIES: tl.constexpr, CHANNELS: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """Write grad_x, and partials (splits, C - FIRST, KH * KW + 1), the bias last. PART as in the forward kernel."""
    program = tl.program_id(0)
    if program < convolving:
        if PART != 0:
            backward_of_channels(
                x, grad_y, weight, grad_x, partials, images, program, C, H, W, FIRST,
                X_STRIDE, X_PIXEL, G_STRIDE, G_PIXEL, Y_PIXEL, KH, KW, S, V, U, E, T, B, ROUNDS,
            )  # fmt: skip
    else:
        if PART != 1:
            copy_channels(
                grad_y, grad_x, program - convolving, C, H, W, FIRST, G_STRIDE, G_PIXEL, Y_PIXEL, COPY, COPIES, CHANNELS
            )  # fmt: skip


@triton.jit
def backward_of_channels(
    x, grad_y, weight, grad_x, partials, images, program,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, FIRST: tl.constexpr,
    X_STRIDE: tl.constexpr, X_PIXEL: tl.constexpr, G_STRIDE: tl.constexpr, G_PIXEL: tl.constexpr, Y_PIXEL: tl.constexpr,
    KH: tl.constexpr, KW: tl.constexpr, S: tl.constexpr, V: tl.constexpr, U: tl.constexpr, E: tl.constexpr,
    T: tl.constexpr, B: tl.constexpr, ROUNDS: tl.constexpr,
):  # fmt: skip
    G: tl.constexpr = C - FIRST
    BLOCKS: tl.constexpr = (G + B - 1) // B
    channel = channels_of(program % BLOCKS, T, B, G_PIXEL)
    taps = load_taps(weight + channel * (KH * KW), channel < G, KH * KW, True)
    totals = zeros_like(channel, KH * KW + 1)
    for n in range(ROUNDS):
        unit = units_of(program // BLOCKS * ROUNDS + n, T, B, G_PIXEL)
        totals = backward_of_units(
            totals, x, grad_y, grad_x, taps, images, unit, channel, C, H, W, FIRST,
            X_STRIDE, X_PIXEL, G_STRIDE, G_PIXEL, Y_PIXEL, KH, KW, S, V, U, E,
        )  # fmt: skip
    chosen = program % BLOCKS * B + tl.arange(0, B)
    place = partials + ((program // BLOCKS).to(tl.int64) * G + chosen) * (KH * KW + 1)
    for k in tl.static_range(KH * KW):
        tl.store(place + (KH * KW - 1 - k), sum_units(totals[k], B, G_PIXEL), mask=chosen < G)
    tl.store(place + KH * KW, sum_units(totals[KH * KW], B, G_PIXEL), mask=chosen < G)


@triton.jit
def channels_of(block, T: tl.constexpr, B: tl.constexpr, PIXEL: tl.constexpr):
    """The channel of each element of a tile of T units."""
    if PIXEL == 0:
        return block * B + tl.arange(0, T) // (T // B)
    else:
        return tl.broadcast_to(block * B + tl.arange(0, B)[None, :], (T, B))


@triton.jit
def units_of(turn, T: tl.constexpr, B: tl.constexpr, PIXEL: tl.constexpr):
    """The unit, counted within its channel, of each element of tile ``turn``."""
    if PIXEL == 0:
        return turn * (T // B) + tl.arange(0, T) % (T // B)
    else:
        return turn * T + tl.arange(0, T)[:, None]


@triton.jit
def sum_units(total, B: tl.constexpr, PIXEL: tl.constexpr):
    """The sum over the units of each of the B channels."""
    if PIXEL == 0:
        return tl.sum(tl.reshape(total, (B, total.shape[0] // B)), axis=1)
    else:
        return tl.sum(total, axis=0)


@triton.jit
def zeros_like(tile, LENGTH: tl.constexpr):
    zeros = ()
    for _ in tl.static_range(LENGTH):
        zeros = zeros + (tl.zeros(tile.shape, tl.float32),)
    return zeros


@triton.jit
def backward_of_units(
    totals, x, grad_y, grad_x, taps, images, unit, channel,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, FIRST: tl.constexpr,
    X_STRIDE: tl.constexpr, X_PIXEL: tl.constexpr, G_STRIDE: tl.constexpr, G_PIXEL: tl.constexpr, Y_PIXEL: tl.constexpr,
    KH: tl.constexpr, KW: tl.constexpr, S: tl.constexpr, V: tl.constexpr, U: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """Store the gradient of the input for these units and return the sums with what they add."""
    HB: tl.constexpr = (H + S - 1) // S
    WB: tl.constexpr = (W + V - 1) // V
    A: tl.constexpr = ((KW // 2 + E - 1) // E) * E if WB > 1 else 0
    X_STEP: tl.constexpr = W * X_PIXEL if X_PIXEL > 0 else W
    column = unit % WB * V
    top = unit // WB % HB * S
    image = unit // (WB * HB)
    m = (image < images) & (channel < C - FIRST)
    g_source = grad_y + image.to(tl.int64) * G_STRIDE + offset_in_image(channel + FIRST, top, column, H, W, G_PIXEL)
    x_source = x + image.to(tl.int64) * X_STRIDE + offset_in_image(channel + FIRST, top, column, H, W, X_PIXEL)
    target = grad_x + image.to(tl.int64) * (C * H * W) + offset_in_image(channel + FIRST, top, column, H, W, Y_PIXEL)
    insides = columns_inside(column, W, WB, V, A)

    start = tl.zeros(channel.shape, tl.float32)
    taken = totals[KH * KW]
    totals = part_of(totals, 0, KH * KW)
    rows = ()
    for r in tl.static_range(S + KH - 1):
        parts = load_window_row(g_source, column, m, top, r - KH // 2, G_PIXEL, H, W, HB, WB, V, U, A, E)
        rows = rows + (spread_window_row(parts, r - KH // 2, G_PIXEL, H, HB, V, U, A, E),)
        if r >= KH - 1:
            own = m & (top + (r - KH + 1) < H)
            xs = load_own_columns(x_source + (r - KH + 1) * X_STEP, column, own, X_PIXEL, W, WB, V, U)
            totals = add_products(totals, xs, rows, insides, top, r - KH + 1, H, W, KH, KW, S, HB, WB, V, A)
            taken = add_columns(taken, rows[r - KH + 1 + KH // 2], V, A)
            out = output_row(start, rows, insides, taps, top, r - KH + 1, H, W, KH, KW, S, HB, WB, V, A)
            store_row(target, column, m, top, out, r - KH + 1, Y_PIXEL, H, W, S, V, U)
    return totals + (taken,)


@triton.jit
def load_own_columns(
    source, column, m, PIXEL: tl.constexpr, W: tl.constexpr, WB: tl.constexpr, V: tl.constexpr, U: tl.constexpr
):
    """One row of the unit without halo, in fp32."""
    lanes = ()
    if PIXEL > 0:
        for v in tl.static_range(V):
            lanes = lanes + (load_pixel(source, column, m, v, W, WB, PIXEL).to(tl.float32),)
    else:
        for u in tl.static_range(V // U):
            lanes = lanes + apart(load_vector(source, column, m, u * U, W, WB, U).to(tl.float32), U)
    return lanes


@triton.jit
def add_columns(total, lanes, V: tl.constexpr, A: tl.constexpr):
    """``total`` plus the unit's own columns of one row, which are zero outside the image."""
    for v in tl.static_range(V):
        total = total + lanes[A + v]
    return total


@triton.jit
def add_products(
    totals, xs, rows, insides, top, s: tl.constexpr,
    H: tl.constexpr, W: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr,
    S: tl.constexpr, HB: tl.constexpr, WB: tl.constexpr, V: tl.constexpr, A: tl.constexpr,
):  # fmt: skip
    """The sums of all taps, with what row ``s`` of the unit adds to them."""
    more = ()
    for i in tl.static_range(KH):
        more = more + add_products_inside(
            totals, xs, rows[s + i], insides, top, s + i - KH // 2, s, i, H, W, KW, S, HB, WB, V, A
        )  # fmt: skip
    return more


@triton.jit
def add_products_inside(
    totals, xs, gs, insides, top, row: tl.constexpr, s: tl.constexpr, i: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    KW: tl.constexpr, S: tl.constexpr, HB: tl.constexpr, WB: tl.constexpr, V: tl.constexpr, A: tl.constexpr,
):  # fmt: skip
    """The KW sums of row ``i`` of the taps, which see row ``row`` of grad_y, if that is inside the image."""
    if HB == 1:
        if row >= 0 and row < H:
            return add_products_of_row(totals, xs, gs, insides, top == top, True, i, W, KW, WB, V, A)
        else:
            return part_of(totals, i * KW, KW)
    else:
        inside = (top + s < H) & (top + row >= 0) & (top + row < H)
        certain: tl.constexpr = H % S == 0 and row >= 0 and row < S
        return add_products_of_row(totals, xs, gs, insides, inside, certain, i, W, KW, WB, V, A)


@triton.jit
def add_products_of_row(
    totals, xs, gs, insides, inside, certain: tl.constexpr, i: tl.constexpr,
    W: tl.constexpr, KW: tl.constexpr, WB: tl.constexpr, V: tl.constexpr, A: tl.constexpr,
):  # fmt: skip
    more = ()
    for j in tl.static_range(KW):
        total = totals[i * KW + j]
        for v in tl.static_range(V):
            total = add_product(total, xs[v], gs, insides, inside, certain, v + j - KW // 2, v, W, WB, V, A)
        more = more + (total,)
    return more


@triton.jit
def add_product(
    total, x, gs, insides, inside, certain: tl.constexpr, column: tl.constexpr, v: tl.constexpr,
    W: tl.constexpr, WB: tl.constexpr, V: tl.constexpr, A: tl.constexpr,
):  # fmt: skip
    """``total`` plus x of column ``v`` times the grad_y of ``column``, where both are inside the image."""
    if WB == 1:
        if column >= 0 and column < W:
            if certain:
                total = total + x * gs[column]
            else:
                total = tl.where(inside, total + x * gs[column], total)
    elif W % V == 0 and column >= 0 and column < V:
        if certain:
            total = total + x * gs[A + column]
        else:
            total = tl.where(inside, total + x * gs[A + column], total)
    else:
        total = tl.where(inside & insides[A + column] & insides[A + v], total + x * gs[A + column], total)
    return total


@triton.jit(do_not_specialize=["images"])
def depthwise_conv_weight_gradient(
    x, grad_y, partials, images, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, FIRST: tl.constexpr,
    X_STRIDE: tl.constexpr, X_PIXEL: tl.constexpr, G_STRIDE: tl.constexpr, G_PIXEL: tl.constexpr,
    KH: tl.constexpr, KW: tl.constexpr, R: tl.constexpr,
    S: tl.constexpr, V: tl.constexpr, U: tl.constexpr, E: tl.constexpr,
    T: tl.constexpr, B: tl.constexpr, ROUNDS: tl.constexpr,
):  # fmt: skip
    """Write partials as ``depthwise_conv_backward`` does, R rows of the taps a program."""
    G: tl.constexpr = C - FIRST
    BLOCKS: tl.constexpr = (G + B - 1) // B
    TAP_BLOCKS: tl.constexpr = (KH + R - 1) // R
    program = tl.program_id(0)
    lead = program % TAP_BLOCKS * R
    block = program // TAP_BLOCKS % BLOCKS
    split = program // (TAP_BLOCKS * BLOCKS)
    channel = channels_of(block, T, B, G_PIXEL)
    totals = zeros_like(channel, R * KW + 1)
    for n in range(ROUNDS):
        unit = units_of(split * ROUNDS + n, T, B, G_PIXEL)
        totals = weight_gradient_of_units(
            totals, x, grad_y, images, unit, channel, lead, C, H, W, FIRST, X_STRIDE, X_PIXEL, G_STRIDE, G_PIXEL,
            KH, KW, R, S, V, U, E,
        )  # fmt: skip
    chosen = block * B + tl.arange(0, B)
    place = partials + (split.to(tl.int64) * G + chosen) * (KH * KW + 1)
    for i in tl.static_range(R):
        for j in tl.static_range(KW):
            at = place + (KH - 1 - lead - i) * KW + (KW - 1 - j)
            tl.store(at, sum_units(totals[i * KW + j], B, G_PIXEL), mask=chosen < tl.where(lead + i < KH, G, 0))
    middle = (lead <= KH // 2) & (lead + R > KH // 2)
    tl.store(place + KH * KW, sum_units(totals[R * KW], B, G_PIXEL), mask=chosen < tl.where(middle, G, 0))


@triton.jit
def weight_gradient_of_units(
    totals, x, grad_y, images, unit, channel, lead,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, FIRST: tl.constexpr,
    X_STRIDE: tl.constexpr, X_PIXEL: tl.constexpr, G_STRIDE: tl.constexpr, G_PIXEL: tl.constexpr,
    KH: tl.constexpr, KW: tl.constexpr, R: tl.constexpr,
    S: tl.constexpr, V: tl.constexpr, U: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """The sums with what these units add; their window begins ``lead`` rows below that of the first tap."""
    WB: tl.constexpr = (W + V - 1) // V
    HB: tl.constexpr = (H + S - 1) // S
    A: tl.constexpr = ((KW // 2 + E - 1) // E) * E if WB > 1 else 0
    X_STEP: tl.constexpr = W * X_PIXEL if X_PIXEL > 0 else W
    G_STEP: tl.constexpr = W * G_PIXEL if G_PIXEL > 0 else W
    column = unit % WB * V
    top = unit // WB % HB * S
    image = unit // (WB * HB)
    m = (image < images) & (channel < C - FIRST)
    g_source = grad_y + image.to(tl.int64) * G_STRIDE + offset_in_image(channel + FIRST, top, column, H, W, G_PIXEL)
    x_source = x + image.to(tl.int64) * X_STRIDE + offset_in_image(channel + FIRST, top, column, H, W, X_PIXEL)
    insides = columns_inside(column, W, WB, V, A)
    seen = top + lead - KH // 2

    # The unit's own rows of grad_y, whose sum is the bias gradient, all pass by where the middle row of the taps does.
    middle = (lead <= KH // 2) & (lead + R > KH // 2)
    taken = totals[R * KW]
    totals = part_of(totals, 0, R * KW)
    rows = ()
    for r in tl.static_range(S + R - 1):
        inside = m & (seen + r >= 0) & (seen + r < H)
        parts = load_row(g_source + (lead + r - KH // 2) * G_STEP, column, inside, G_PIXEL, W, WB, V, U, A, E)
        rows = rows + (spread(parts, G_PIXEL, V, U, A, E),)
        own = middle & (lead + r >= KH // 2) & (lead + r < KH // 2 + S)
        taken = tl.where(own, add_columns(taken, rows[r], V, A), taken)
        if r >= R - 1:
            here = m & (top + (r - R + 1) < H)
            xs = load_own_columns(x_source + (r - R + 1) * X_STEP, column, here, X_PIXEL, W, WB, V, U)
            totals = add_products_below(totals, xs, rows, insides, here, seen, r - R + 1, H, W, KW, R, WB, V, A)
    return totals + (taken,)


@triton.jit
def add_products_below(
    totals, xs, rows, insides, here, seen, s: tl.constexpr, H: tl.constexpr, W: tl.constexpr, KW: tl.constexpr,
    R: tl.constexpr, WB: tl.constexpr, V: tl.constexpr, A: tl.constexpr,
):  # fmt: skip
    """The sums of R rows of the taps, with what row ``s`` of the unit adds; its window begins at image row ``seen``."""
    more = ()
    for i in tl.static_range(R):
        inside = here & (seen + (s + i) >= 0) & (seen + (s + i) < H)
        more = more + add_products_of_row(totals, xs, rows[s + i], insides, inside, False, i, W, KW, WB, V, A)
    return more


@triton.jit(do_not_specialize=["splits"])
def sum_partials(partials, sums, splits, LENGTH: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    """sums[k] = partials[0, k] + partials[1, k] + ..., ROWS at a time, always in the same order."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = tl.arange(0, ROWS)
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    first = 0
    while first < splits:
        m = (first + row < splits)[:, None] & (at < LENGTH)[None, :]
        total += tl.load(partials + (first + row).to(tl.int64)[:, None] * LENGTH + at[None, :], mask=m, other=0.0)
        first += ROWS
    tl.store(sums + at, tl.sum(total, axis=0), mask=at < LENGTH)
