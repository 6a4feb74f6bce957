"""grad_x[i] = sum_k w[k] grad_y[i + p - k], grad_w[k] = sum_i x[i] grad_y[i + p - k], grad_b = sum_i grad_y[i]; NCHW.

i runs over the elements of one channel of one branch, in a plane that is zero outside; on the identity grad_x = grad_y.
Two launches, no atomics, so that every run gives the same bits. In the first a program serves one branch, told from its
number: row, column, square, and last the identity, which copies. In a branch it owns one channel and TILES x THREADS
units of it over the images, a thread one unit at a time: the thread reads x there and grad_y there and around, writes
grad_x, and sums its products for each weight. The program adds up its threads and writes one row of partials: the taps,
then the bias. The second launch adds the rows of a channel: a program a channel and branch.

Products of x with the zeros around the plane are added too: where x is infinite beside the border, the gradient of a
weight is NaN where the definition leaves that element out.
"""

# Triton's tuples grow by + alone, its functions are typed by their callers.
# ruff: noqa: RUF005, SIM108
# mypy: disallow-untyped-decorators=False, disable-error-code="no-untyped-def, assignment"

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launch import Plan, Variant, signature_of, variants_of
from .triton_nchw_window import lanes_of, load_column, load_row, piece_of, row_exists, store_piece, store_row


@triton.jit
def _unit(t, N, W: tl.constexpr, ROWS: tl.constexpr, SEGS: tl.constexpr, S: tl.constexpr,
    SEG: tl.constexpr, X_STRIDE: tl.constexpr, Y_STRIDE: tl.constexpr):  # fmt: skip
    """Unit t of a channel: its first row and column, its offsets in x and in grad_y, and whether it exists."""
    image = t // (ROWS * SEGS)
    h0 = t // SEGS % ROWS * S
    w0 = t % SEGS * SEG
    inside = h0 * W + w0
    return h0, w0, image.to(tl.int64) * X_STRIDE + inside, image.to(tl.int64) * Y_STRIDE + inside, image < N


@triton.jit
def _taps(w, c, TAPS: tl.constexpr):
    taps = ()
    for k in tl.static_range(TAPS):
        taps = taps + (tl.load(w + c * TAPS + k).to(tl.float32),)
    return taps


@triton.jit
def _zeros(COUNT: tl.constexpr, THREADS: tl.constexpr):
    sums = ()
    for _ in tl.static_range(COUNT):
        sums = sums + (tl.zeros([THREADS], tl.float32),)
    return sums


@triton.jit
def _window(
    x, grad_y, grad_x, taps, sums, h0, w0, m, H: tl.constexpr, W: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr,
    S: tl.constexpr, SEG: tl.constexpr, V: tl.constexpr, HALO: tl.constexpr,
):  # fmt: skip
    """One unit of a row or square branch: writes grad_x, returns the sums with its products. Pointers at (h0, w0)."""
    PH: tl.constexpr = KH // 2
    PW: tl.constexpr = KW // 2
    rows = ()
    for r in tl.static_range(KH):
        rows = rows + (load_row(grad_y, h0, w0, r - PH, m, PW, S, SEG, V, HALO, H, W),)
    inputs = (load_row(x, h0, w0, 0, m, 0, S, SEG, V, V, H, W),)
    for s in tl.static_range(S):
        # The next rows are on their way while these are computed; no load passes a store.
        if s + 1 < S:
            rows = rows + (load_row(grad_y, h0, w0, s + KH - PH, m, PW, S, SEG, V, HALO, H, W),)
            inputs = inputs + (load_row(x, h0, w0, s + 1, m, 0, S, SEG, V, V, H, W),)
        lanes = ()
        for j in tl.static_range(SEG):
            total = tl.zeros([h0.shape[0]], tl.float32)
            for k in tl.static_range(KH * KW):
                if _inside(s + KH - 1 - k // KW - PH, S, H) and _inside(j + KW - 1 - k % KW - PW, SEG, W):
                    total += taps[k] * rows[s + KH - 1 - k // KW][j + KW - 1 - k % KW]
            lanes = lanes + (total,)
        store_row(grad_x, h0, w0, s, m, lanes, S, SEG, V, H, W)
        grown = ()
        for k in tl.static_range(KH * KW):
            total = sums[k]
            if _inside(s + KH - 1 - k // KW - PH, S, H):
                for j in tl.static_range(SEG):
                    if _inside(j + KW - 1 - k % KW - PW, SEG, W):
                        total += inputs[s][j] * rows[s + KH - 1 - k // KW][j + KW - 1 - k % KW]
            grown = grown + (total,)
        total = sums[KH * KW]
        for j in tl.static_range(SEG):
            total += rows[s + PH][j + PW]
        sums = grown + (total,)
    return sums


@triton.constexpr_function
def _inside(position, owned, size):
    """Whether a row or column may lie inside the plane: False only where that is known when compiling."""
    return owned < size or 0 <= position < size


@triton.jit
def _column(
    x, grad_y, grad_x, taps, sums, h0, m, H: tl.constexpr, W: tl.constexpr, K: tl.constexpr, S: tl.constexpr,
    V: tl.constexpr,
):  # fmt: skip
    """One unit of the column branch: writes grad_x, returns the sums grown by its products. Pointers at row h0."""
    P: tl.constexpr = K // 2
    inputs = ()
    outputs = ()
    # Every row of grad_y goes into all that it belongs to as it comes.
    for r in tl.static_range(S + K - 1):
        if r < S:
            inputs = inputs + (lanes_of(load_column(x, h0, r, m, S, V, H, W), V),)
            outputs = outputs + (tl.zeros([h0.shape[0], V], tl.float32),)
        if _inside(r - P, S, H):
            row = load_column(grad_y, h0, r - P, m, S, V, H, W)
            outputs = _spread(outputs, taps, row, r, K)
            sums = _grow(sums, inputs, lanes_of(row, V), r, K, S, V)
        # Stored as soon as it is whole: no load passes a store, so that few rows wait in registers.
        if r >= K - 1:
            store_piece(grad_x, (r - K + 1) * W, row_exists(h0, r - K + 1, m, S, H), outputs[r - K + 1], V)
    return sums


@triton.jit
def _spread(outputs, taps, row, R: tl.constexpr, K: tl.constexpr):
    """The outputs with row R of grad_y added to each that it belongs to, by the flipped taps."""
    grown = ()
    for s in tl.static_range(len(outputs)):
        if s <= R and s + K > R:
            grown = grown + (outputs[s] + taps[s + K - 1 - R] * row,)
        else:
            grown = grown + (outputs[s],)
    return grown


@triton.jit
def _grow(sums, inputs, lanes, R: tl.constexpr, K: tl.constexpr, S: tl.constexpr, V: tl.constexpr):
    """The sums of each tap, and of the bias, with the products of row R of grad_y added."""
    grown = ()
    for k in tl.static_range(K):
        total = sums[k]
        if R - K + 1 + k >= 0 and R - K + 1 + k < S:
            for v in tl.static_range(V):
                total += inputs[R - K + 1 + k][v] * lanes[v]
        grown = grown + (total,)
    total = sums[K]
    if R >= K // 2 and S + K // 2 > R:
        for v in tl.static_range(V):
            total += lanes[v]
    return grown + (total,)


@triton.jit
def _branch(
    x, grad_y, w, grad_x, partials, pid, N, FIRST: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    GC: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, X_STRIDE: tl.constexpr, TILES: tl.constexpr, S: tl.constexpr,
    SEG: tl.constexpr, V: tl.constexpr, HALO: tl.constexpr, THREADS: tl.constexpr, LENGTH: tl.constexpr,
):  # fmt: skip
    TAPS: tl.constexpr = KH * KW
    ROWS: tl.constexpr = (H + S - 1) // S
    SEGS: tl.constexpr = (W + SEG - 1) // SEG
    block = pid // GC
    c = pid % GC
    plane = (FIRST + c).to(tl.int64) * (H * W)
    taps = _taps(w, c, TAPS)
    sums = _zeros(TAPS + 1, THREADS)
    for tile in range(TILES):
        t = (block * TILES + tile) * THREADS + tl.arange(0, THREADS)
        h0, w0, x_offset, y_offset, m = _unit(t, N, W, ROWS, SEGS, S, SEG, X_STRIDE, C * H * W)
        x_offset += plane
        y_offset += plane
        if KW == 1 and KH > 1:
            sums = _column(
                x + x_offset, grad_y + y_offset, grad_x + y_offset, taps, sums, h0, m, H, W, KH, S, V
            )  # fmt: skip
        else:
            sums = _window(
                x + x_offset, grad_y + y_offset, grad_x + y_offset, taps, sums, h0, w0, m, H, W, KH, KW, S, SEG, V, HALO
            )  # fmt: skip
    sums = sums + _zeros(LENGTH - TAPS - 1, THREADS)
    row = partials + tl.program_id(0).to(tl.int64) * LENGTH + tl.arange(0, LENGTH)
    tl.store(row, tl.sum(piece_of(sums, 0, LENGTH), 0))


@triton.jit
def _copy(
    grad_y, grad_x, pid, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, GC: tl.constexpr, COPY: tl.constexpr
):  # fmt: skip
    CHUNK: tl.constexpr = (C - 3 * GC) * H * W
    BLOCKS: tl.constexpr = (CHUNK + COPY - 1) // COPY
    image = (pid // BLOCKS).to(tl.int64)
    i = pid % BLOCKS * COPY + tl.arange(0, COPY)
    values = tl.load(grad_y + image * (C * H * W) + i, mask=i < CHUNK)
    tl.store(grad_x + image * (C * H * W) + i, values.to(grad_x.dtype.element_ty), mask=i < CHUNK)


@triton.jit
def _programs(N, H: tl.constexpr, W: tl.constexpr, GC: tl.constexpr, S: tl.constexpr, SEG: tl.constexpr,
    PER_PROGRAM: tl.constexpr):  # fmt: skip
    """How many programs serve a branch."""
    UNITS: tl.constexpr = (H + S - 1) // S * ((W + SEG - 1) // SEG)
    return (N * UNITS + PER_PROGRAM - 1) // PER_PROGRAM * GC


@triton.jit(do_not_specialize=["N"])
def backward_kernel(
    x, grad_y, w_square, w_row, w_column, grad_x, partials, N,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, GC: tl.constexpr, KS: tl.constexpr, KB: tl.constexpr,
    X_STRIDE: tl.constexpr, COPY: tl.constexpr,
    SQUARE_TILES: tl.constexpr, SQUARE_S: tl.constexpr, SQUARE_SEG: tl.constexpr, SQUARE_V: tl.constexpr,
    ROW_TILES: tl.constexpr, ROW_S: tl.constexpr, ROW_SEG: tl.constexpr, ROW_V: tl.constexpr,
    COLUMN_TILES: tl.constexpr, COLUMN_S: tl.constexpr, COLUMN_V: tl.constexpr,
    LENGTH: tl.constexpr, THREADS: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """PART -1 is what runs; 0 to 3 are the identity, square, row and column programs alone, for counting instructions.

    LENGTH: the power of two that holds the taps of any branch and the bias.
    """
    ID: tl.constexpr = C - 3 * GC
    pid = tl.program_id(0)
    row_end = _programs(N, H, W, GC, ROW_S, ROW_SEG, ROW_TILES * THREADS)
    column_end = row_end + _programs(N, H, W, GC, COLUMN_S, COLUMN_V, COLUMN_TILES * THREADS)
    square_end = column_end + _programs(N, H, W, GC, SQUARE_S, SQUARE_SEG, SQUARE_TILES * THREADS)
    if PART == 2 or (PART == -1 and pid < row_end):
        _branch(
            x, grad_y, w_row, grad_x, partials, pid, N, ID + GC, C, H, W, GC, 1, KB, X_STRIDE, ROW_TILES, ROW_S,
            ROW_SEG, ROW_V, ROW_V, THREADS, LENGTH,
        )  # fmt: skip
    elif PART == 3 or (PART == -1 and pid < column_end):
        _branch(
            x, grad_y, w_column, grad_x, partials, pid - row_end, N, ID + 2 * GC, C, H, W, GC, KB, 1, X_STRIDE,
            COLUMN_TILES, COLUMN_S, COLUMN_V, COLUMN_V, COLUMN_V, THREADS, LENGTH,
        )  # fmt: skip
    elif PART == 1 or (PART == -1 and pid < square_end):
        _branch(
            x, grad_y, w_square, grad_x, partials, pid - column_end, N, ID, C, H, W, GC, KS, KS, X_STRIDE,
            SQUARE_TILES, SQUARE_S, SQUARE_SEG, SQUARE_V, 1, THREADS, LENGTH,
        )  # fmt: skip
    elif ID > 0:
        _copy(grad_y, grad_x, pid - square_end, C, H, W, GC, COPY)


@triton.jit
def _total(partials, grad_w, grad_b, c, blocks, GC: tl.constexpr, TAPS: tl.constexpr, LENGTH: tl.constexpr,
    BLOCKS: tl.constexpr, CHUNK: tl.constexpr):  # fmt: skip
    k = tl.arange(0, LENGTH)
    sums = tl.zeros([CHUNK, LENGTH], tl.float32)
    for first in range(0, BLOCKS, CHUNK):
        block = first + tl.arange(0, CHUNK)
        rows = partials + (block.to(tl.int64) * GC + c)[:, None] * LENGTH + k[None, :]
        sums += tl.load(rows, mask=(block < blocks)[:, None], other=0.0)
    total = tl.sum(sums, 0)
    tl.store(grad_w + c * TAPS + k, total.to(grad_w.dtype.element_ty), mask=k < TAPS)
    tl.store(grad_b + c + k * 0, total.to(grad_b.dtype.element_ty), mask=k == TAPS)


@triton.jit(do_not_specialize=["square_blocks", "row_blocks", "column_blocks"])
def total_kernel(
    partials, grad_w_square, grad_w_row, grad_w_column, grad_b_square, grad_b_row, grad_b_column,
    square_blocks, row_blocks, column_blocks, GC: tl.constexpr, KS: tl.constexpr, KB: tl.constexpr,
    LENGTH: tl.constexpr, SQUARE_BLOCKS: tl.constexpr, ROW_BLOCKS: tl.constexpr, COLUMN_BLOCKS: tl.constexpr,
    CHUNK: tl.constexpr,
):  # fmt: skip
    """Add the blocks of partials: each of the first GC programs a channel of the row branch, then column, then square.

    *_BLOCKS: the power of two that holds the blocks.
    """
    c = tl.program_id(0) % GC
    branch = tl.program_id(0) // GC
    columns = partials + row_blocks.to(tl.int64) * (GC * LENGTH)
    squares = columns + column_blocks.to(tl.int64) * (GC * LENGTH)
    if branch == 0:
        _total(partials, grad_w_row, grad_b_row, c, row_blocks, GC, KB, LENGTH, ROW_BLOCKS, CHUNK)
    elif branch == 1:
        _total(columns, grad_w_column, grad_b_column, c, column_blocks, GC, KB, LENGTH, COLUMN_BLOCKS, CHUNK)
    else:
        _total(squares, grad_w_square, grad_b_square, c, square_blocks, GC, KS * KS, LENGTH, SQUARE_BLOCKS, CHUNK)


def backward(
    x: Tensor, grad_y: Tensor, weights: Sequence[Tensor], plan: Plan
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The gradients of x, of the three weights and of the three biases (square, row, column).

    The channels, rows and columns of x are dense; grad_y is dense. grad_x has the dtype of x, the others that of the
    weights.
    """
    weights = [weight.contiguous() for weight in weights]
    programs = {name: plan.parts[name] for name in ("square", "row", "column")}
    grad_x = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    partials = torch.empty(sum(programs.values()), plan.constants["LENGTH"], dtype=torch.float32, device=x.device)
    grads_w = [torch.empty_like(weight) for weight in weights]
    grads_b = [weight.new_empty(weight.shape[0]) for weight in weights]
    arguments = (x, grad_y, *weights, grad_x, partials, x.shape[0])
    backward_kernel[(plan.programs,)](*arguments, **plan.constants, PART=-1, **plan.options)
    blocks = [count // plan.geometry.branch for count in programs.values()]
    constants, options = second_stage(plan)
    arguments = (partials, *grads_w, *grads_b, *blocks)
    total_kernel[(3 * plan.geometry.branch,)](*arguments, **constants, **options)
    return grad_x, grads_w, grads_b


def partial_bytes(plan: Plan) -> int:
    """What the first launch writes, and the second reads, of partial sums."""
    return sum(plan.parts[name] for name in ("square", "row", "column")) * int(plan.constants["LENGTH"]) * 4


def second_stage(plan: Plan) -> tuple[dict[str, int | bool], dict[str, int | bool]]:
    """The constants and the options of total_kernel after this plan's first launch."""
    kept = {name: plan.constants[name] for name in ("GC", "KS", "KB", "LENGTH")}
    blocks = {
        f"{name.upper()}_BLOCKS": triton.next_power_of_2(plan.parts[name] // plan.geometry.branch)
        for name in ("square", "row", "column")
    }
    return {**kept, **blocks, "CHUNK": 32}, {"num_warps": 4, "num_stages": 1, "enable_fp_fusion": True}


def variants(
    plan: Plan, dtype: torch.dtype, out_dtype: torch.dtype | None = None, weight_dtype: torch.dtype | None = None
) -> list[Variant]:
    """What the static checks compile: PART -1, which `backward` launches, each part alone, and the second launch.

    dtype: of x and grad_x; out_dtype: of grad_y.
    """
    weight = weight_dtype or dtype
    signature = signature_of(backward_kernel, [dtype, out_dtype or dtype, *[weight] * 3, dtype, torch.float32, "i32"])
    constants, options = second_stage(plan)
    second = signature_of(total_kernel, [torch.float32, *[weight] * 6, "i32", "i32", "i32"])
    return [
        *variants_of(backward_kernel, signature, plan.constants, plan),
        (total_kernel, second, constants, (3 * plan.geometry.branch,), options),
    ]
