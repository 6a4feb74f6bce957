"""y[c, h, w] = b[c] + sum_k w_c[k] x[c, h + k_h - p_h, w + k_w - p_w] in a branch, y = x on the identity; NCHW.

One launch. A program serves one branch, told from its number: first come the row (1 x k) programs, then the column
(k x 1) ones, then the square ones, and last the identity, where a program copies COPY neighbouring elements of one
image. In a branch every thread owns a unit, S rows of SEG columns of one plane (`triton_nchw_window`); units run
along the columns, then the rows, the channels and a group of images. No thread waits for another.
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

from . import triton_statistics
from .launch import Plan, Variant, signature_of, variants_of
from .triton_nchw_statistics import copy_planes, with_row, write_planes
from .triton_nchw_window import load_column, load_row, load_taps, row_exists, store_piece, store_row, unit_of
from .triton_statistics import join_rows, moment_tensors, no_moments, with_piece


@triton.jit
def _row(
    x, y, w, b, moments, counts, pid, N, FIRST: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    GC: tl.constexpr, K: tl.constexpr, X_STRIDE: tl.constexpr, BIAS: tl.constexpr, GROUP: tl.constexpr,
    S: tl.constexpr, SEG: tl.constexpr, V: tl.constexpr, PLANE: tl.constexpr, STATISTICS: tl.constexpr,
    THREADS: tl.constexpr,
):  # fmt: skip
    P: tl.constexpr = K // 2
    c, h0, w0, x_offset, y_offset, m = unit_of(pid, N, FIRST, C, H, W, GC, X_STRIDE, GROUP, S, SEG, PLANE, THREADS)
    rows = (load_row(x + x_offset, h0, w0, 0, m, P, S, SEG, V, V, H, W),)
    taps = load_taps(w, c, K, m)
    bias = load_taps(b, c, 1, m)[0] if BIAS else tl.zeros([THREADS], tl.float32)
    found = no_moments(THREADS, 0)
    for s in tl.static_range(S):
        # The next row is on its way while this one is computed; no load passes a store.
        if s + 1 < S:
            rows = rows + (load_row(x + x_offset, h0, w0, s + 1, m, P, S, SEG, V, V, H, W),)
        sums = ()
        for j in tl.static_range(SEG):
            total = bias
            for k in tl.static_range(K):
                if SEG < W or (j + k >= P and j + k < W + P):
                    total += taps[k] * rows[s][j + k]
            sums = sums + (total,)
        store_row(y + y_offset, h0, w0, s, m, sums, S, SEG, V, H, W)
        if STATISTICS:
            found = with_row(found, y, h0, w0, s, m, sums, S, SEG, V, H, W)
    if STATISTICS:
        write_planes(moments, counts, found, m, pid, N, FIRST, C, H, W, GC, 2, GROUP, S, SEG, PLANE, THREADS)


@triton.jit
def _column(
    x, y, w, b, moments, counts, pid, N, FIRST: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    GC: tl.constexpr, K: tl.constexpr, X_STRIDE: tl.constexpr, BIAS: tl.constexpr, GROUP: tl.constexpr,
    S: tl.constexpr, V: tl.constexpr, PLANE: tl.constexpr, STATISTICS: tl.constexpr, THREADS: tl.constexpr,
):  # fmt: skip
    P: tl.constexpr = K // 2
    c, h0, _w0, x_offset, y_offset, m = unit_of(pid, N, FIRST, C, H, W, GC, X_STRIDE, GROUP, S, V, PLANE, THREADS)
    rows = ()
    for r in tl.static_range(S + K - 1):
        rows = rows + (load_column(x + x_offset, h0, r - P, m, S, V, H, W),)
    taps = load_taps(w, c, K, m)
    bias = load_taps(b, c, 1, m)[0] if BIAS else tl.zeros([THREADS], tl.float32)
    found = no_moments(THREADS, 0)
    # Every row goes into the sums that it belongs to as it comes, so that S sums are kept and not K rows.
    sums = ()
    for r in tl.static_range(S + K - 1):
        if r < S:
            sums = sums + (tl.broadcast_to(bias[:, None], [THREADS, V]),)
        if S < H or (r >= P and r < H + P):
            sums = _spread(sums, taps, rows[r], r, K)
        if r >= K - 1:
            exists = row_exists(h0, r - K + 1, m, S, H)
            store_piece(y + y_offset, (r - K + 1) * W, exists, sums[r - K + 1], V)
            if STATISTICS:
                found = with_piece(found, y, sums[r - K + 1], exists, r == K - 1, H % S == 0)
    if STATISTICS:
        write_planes(moments, counts, found, m, pid, N, FIRST, C, H, W, GC, 3, GROUP, S, V, PLANE, THREADS)


@triton.jit
def _spread(sums, taps, row, R: tl.constexpr, K: tl.constexpr):
    """The sums with row R added to each that it belongs to."""
    grown = ()
    for s in tl.static_range(len(sums)):
        if s + K > R:
            grown = grown + (sums[s] + taps[R - s][:, None] * row,)
        else:
            grown = grown + (sums[s],)
    return grown


@triton.jit
def _square(
    x, y, w, b, moments, counts, pid, N, FIRST: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    GC: tl.constexpr, K: tl.constexpr, X_STRIDE: tl.constexpr, BIAS: tl.constexpr, GROUP: tl.constexpr,
    S: tl.constexpr, SEG: tl.constexpr, V: tl.constexpr, PLANE: tl.constexpr, STATISTICS: tl.constexpr,
    THREADS: tl.constexpr,
):  # fmt: skip
    P: tl.constexpr = K // 2
    c, h0, w0, x_offset, y_offset, m = unit_of(pid, N, FIRST, C, H, W, GC, X_STRIDE, GROUP, S, SEG, PLANE, THREADS)
    rows = ()
    for r in tl.static_range(K):
        rows = rows + (load_row(x + x_offset, h0, w0, r - P, m, P, S, SEG, V, 1, H, W),)
    taps = load_taps(w, c, K * K, m)
    bias = load_taps(b, c, 1, m)[0] if BIAS else tl.zeros([THREADS], tl.float32)
    found = no_moments(THREADS, 0)
    for s in tl.static_range(S):
        if s + 1 < S:
            rows = rows + (load_row(x + x_offset, h0, w0, s + K - P, m, P, S, SEG, V, 1, H, W),)
        sums = ()
        for j in tl.static_range(SEG):
            total = bias
            for k in tl.static_range(K * K):
                if (S < H or (s + k // K >= P and s + k // K < H + P)) and (
                    SEG < W or (j + k % K >= P and j + k % K < W + P)
                ):
                    total += taps[k] * rows[s + k // K][j + k % K]
            sums = sums + (total,)
        store_row(y + y_offset, h0, w0, s, m, sums, S, SEG, V, H, W)
        if STATISTICS:
            found = with_row(found, y, h0, w0, s, m, sums, S, SEG, V, H, W)
    if STATISTICS:
        write_planes(moments, counts, found, m, pid, N, FIRST, C, H, W, GC, 1, GROUP, S, SEG, PLANE, THREADS)


@triton.jit
def _copy(
    x, y, pid, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, GC: tl.constexpr, X_STRIDE: tl.constexpr,
    COPY: tl.constexpr,
):  # fmt: skip
    CHUNK: tl.constexpr = (C - 3 * GC) * H * W
    BLOCKS: tl.constexpr = (CHUNK + COPY - 1) // COPY
    image = (pid // BLOCKS).to(tl.int64)
    i = pid % BLOCKS * COPY + tl.arange(0, COPY)
    values = tl.load(x + image * X_STRIDE + i, mask=i < CHUNK)
    tl.store(y + image * (C * H * W) + i, values, mask=i < CHUNK)


@triton.jit(do_not_specialize=["N"])
def forward_kernel(
    x, w_square, w_row, w_column, b_square, b_row, b_column, y, moments, counts, N,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, GC: tl.constexpr, KS: tl.constexpr, KB: tl.constexpr,
    X_STRIDE: tl.constexpr, BIAS: tl.constexpr, STATISTICS: tl.constexpr, COPY: tl.constexpr, COPY_LANES: tl.constexpr,
    COPY_IMAGES: tl.constexpr, SQUARE_GROUP: tl.constexpr, SQUARE_S: tl.constexpr, SQUARE_SEG: tl.constexpr,
    SQUARE_V: tl.constexpr, SQUARE_PLANE: tl.constexpr, ROW_GROUP: tl.constexpr, ROW_S: tl.constexpr,
    ROW_SEG: tl.constexpr, ROW_V: tl.constexpr, ROW_PLANE: tl.constexpr, COLUMN_GROUP: tl.constexpr,
    COLUMN_S: tl.constexpr, COLUMN_V: tl.constexpr, COLUMN_PLANE: tl.constexpr, SQUARE_PROGRAMS: tl.constexpr,
    ROW_PROGRAMS: tl.constexpr, COLUMN_PROGRAMS: tl.constexpr, THREADS: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """PART -1 is what runs; 0 to 3 are the identity, square, row and column programs alone, for counting instructions.

    *_PROGRAMS: programs of a group of images. *_PLANE: threads of a plane. COPY_LANES, COPY_IMAGES: with statistics.
    """
    ID: tl.constexpr = C - 3 * GC
    pid = tl.program_id(0)
    row_end = (N + ROW_GROUP - 1) // ROW_GROUP * ROW_PROGRAMS
    column_end = row_end + (N + COLUMN_GROUP - 1) // COLUMN_GROUP * COLUMN_PROGRAMS
    square_end = column_end + (N + SQUARE_GROUP - 1) // SQUARE_GROUP * SQUARE_PROGRAMS
    if PART == 2 or (PART == -1 and pid < row_end):
        _row(
            x, y, w_row, b_row, moments, counts, pid, N, ID + GC, C, H, W, GC, KB, X_STRIDE, BIAS, ROW_GROUP, ROW_S,
            ROW_SEG, ROW_V, ROW_PLANE, STATISTICS, THREADS,
        )  # fmt: skip
    elif PART == 3 or (PART == -1 and pid < column_end):
        _column(
            x, y, w_column, b_column, moments, counts, pid - row_end, N, ID + 2 * GC, C, H, W, GC, KB, X_STRIDE, BIAS,
            COLUMN_GROUP, COLUMN_S, COLUMN_V, COLUMN_PLANE, STATISTICS, THREADS,
        )  # fmt: skip
    elif PART == 1 or (PART == -1 and pid < square_end):
        _square(
            x, y, w_square, b_square, moments, counts, pid - column_end, N, ID, C, H, W, GC, KS, X_STRIDE, BIAS,
            SQUARE_GROUP, SQUARE_S, SQUARE_SEG, SQUARE_V, SQUARE_PLANE, STATISTICS, THREADS,
        )  # fmt: skip
    elif ID > 0 and STATISTICS:
        copy_planes(x, y, moments, counts, pid - square_end, C, H, W, GC, X_STRIDE, COPY, COPY_LANES, COPY_IMAGES)
    elif ID > 0:
        _copy(x, y, pid - square_end, C, H, W, GC, X_STRIDE, COPY)


def forward(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], plan: Plan, out_dtype: torch.dtype
) -> Tensor:
    """y for x [N, C, H, W] whose channels, rows and columns are dense. biases: three, or none."""
    y = torch.empty(x.shape, dtype=out_dtype, device=x.device)
    _launch(x, weights, biases, plan, y, ())
    return y


def forward_with_statistics(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], plan: Plan, out_dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, means, variances) likewise, for a plan of direction "statistics"."""
    y = torch.empty(x.shape, dtype=out_dtype, device=x.device)
    rows = moment_tensors(plan, x.device)
    _launch(x, weights, biases, plan, y, rows)
    return y, *join_rows(*rows, plan)


def _launch(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], plan: Plan, y: Tensor, rows: Sequence[Tensor]
) -> None:
    weights, biases = [weight.contiguous() for weight in weights], [bias.contiguous() for bias in biases]
    # Without biases or rows for statistics the kernel gets pointers that it never follows.
    arguments = (x, *weights, *(biases or weights), y, *(rows or weights[:2]), x.shape[0])
    forward_kernel[(plan.programs,)](*arguments, **plan.constants, BIAS=bool(biases), PART=-1, **plan.options)


def variants(
    plan: Plan, dtype: torch.dtype, out_dtype: torch.dtype | None = None, weight_dtype: torch.dtype | None = None
) -> list[Variant]:
    """What the static checks compile: PART -1, which is what `forward` launches, and each part that has programs."""
    weight = weight_dtype or dtype
    out, single = out_dtype or dtype, torch.float32
    signature = signature_of(forward_kernel, [dtype, *[weight] * 6, out, *[single if plan.rows else weight] * 2, "i32"])
    found = variants_of(forward_kernel, signature, {**plan.constants, "BIAS": True}, plan)
    return [*found, *triton_statistics.variants(plan)] if plan.rows else found
