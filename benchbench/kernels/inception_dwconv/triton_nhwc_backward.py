"""grad_x = conv(grad_y, flipped w), grad_w[t] = sum_i x[i] grad_y[i + p - t], grad_b = sum_i grad_y[i] (channels_last).

One launch reads grad_y and the convolved channels of x and writes grad_x; a second adds up what is left of the sums.
As in the forward pass a program belongs to one part and the parts take turns. A branch program is a block of threads,
ACROSS of which hold neighbouring channels of one run of SHARE positions. A thread takes STEPS such runs one after the
other, with its taps and the sums of its weight gradients in registers. Then the threads that hold the same channels
add up, and the program writes one row of partial sums, [taps + 1, g] in float32 with the bias gradient last.
`sum_kernel` adds the rows in a fixed order: no atomics, the same bits from run to run.
"""

# Triton's tuples grow by + alone, its functions are typed by their callers.
# ruff: noqa: RUF005
# mypy: disallow-untyped-decorators=False, disable-error-code="no-untyped-def, assignment"

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launch import Geometry, Plan, Variant, signature_of, variants_of
from .launch_nhwc import places
from .triton_nhwc_forward import strides
from .triton_nhwc_runs import identity, inside, load_line, load_square, load_taps, places_of, position_of


@triton.jit
def _add_up(
    sums, partial, tile, first, G: tl.constexpr, COUNT: tl.constexpr, BLOCK: tl.constexpr, VECTOR: tl.constexpr,
    ACROSS: tl.constexpr,
):  # fmt: skip
    """Adds up the sums of the threads that hold the same channels and writes the program's row."""
    c = first + tl.arange(0, ACROSS)[:, None] * VECTOR + tl.arange(0, VECTOR)[None, :]
    row = partial + tile.to(tl.int64) * (COUNT * G)
    for t in tl.static_range(COUNT):
        runs = tl.reshape(sums[t], (BLOCK // ACROSS, ACROSS, VECTOR))
        tl.store(row + (t * G + c), tl.sum(runs, axis=0), mask=c < G)


@triton.jit
def _branch(
    x, grad_y, weight, grad_x, partial, program, N, FIRST: tl.constexpr, KIND: tl.constexpr, H: tl.constexpr,
    W: tl.constexpr, C: tl.constexpr, G: tl.constexpr, X_IMAGE: tl.constexpr, X_PIXEL: tl.constexpr,
    SHARE: tl.constexpr, K: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr, VECTOR: tl.constexpr,
    ACROSS: tl.constexpr,
):  # fmt: skip
    """KIND: 1 square, 2 row, 3 column. The taps of a square are numbered row by row."""
    REACH: tl.constexpr = K // 2
    ROW: tl.constexpr = KIND == 2
    LENGTH: tl.constexpr = W if ROW else H
    NEXT: tl.constexpr = 1 if ROW else W
    WIDE: tl.constexpr = K if KIND == 1 else 1
    SLICES: tl.constexpr = (G // VECTOR + ACROSS - 1) // ACROSS
    tile = program // SLICES
    thread = tl.arange(0, BLOCK)[:, None]
    group = (program - tile * SLICES) * ACROSS + thread % ACROSS
    m_c = group < G // VECTOR
    c = tl.minimum(group, G // VECTOR - 1) * VECTOR + tl.arange(0, VECTOR)[None, :]
    taps = load_taps(weight, c, K * WIDE)
    sums = ()
    for _ in tl.static_range(K * WIDE + 1):
        sums = sums + (tl.zeros((BLOCK, VECTOR), tl.float32),)
    for step in range(STEPS):
        place = (tile * STEPS + step) * (BLOCK // ACROSS) + thread // ACROSS
        image, row, column = position_of(place, ROW, H, W, SHARE)
        m = m_c & (place < places_of(N, ROW, H, W, SHARE))
        start = column if ROW else row
        offset = image * (H * W * C) + ((row * W + column) * C + FIRST + c)
        x_offset = image * X_IMAGE + ((row * W + column) * X_PIXEL + FIRST + c)
        if KIND == 1:
            gradients = load_square(grad_y + offset, row, column, m, C, H, W, SHARE, REACH)
        else:
            gradients = load_line(grad_y + offset, start, m, NEXT * C, LENGTH, SHARE, REACH)
        inputs = load_line(x + x_offset, start, m, NEXT * X_PIXEL, LENGTH, SHARE, 0)
        for s in tl.static_range(SHARE):
            total = tl.zeros((BLOCK, VECTOR), tl.float32)
            updated = ()
            for t in tl.static_range(K * WIDE):
                # A square's rows of gradients and of taps run against each other, and so do the places in a row.
                if (SHARE != LENGTH) or ((s + K - 1 - t // WIDE >= REACH) and (s + K - 1 - t // WIDE < REACH + LENGTH)):
                    gradient = gradients[(s + K - 1 - t // WIDE) * WIDE + WIDE - 1 - t % WIDE]
                    total += taps[t] * gradient
                    updated = updated + (sums[t] + inputs[s] * gradient,)
                else:
                    updated = updated + (sums[t],)
            sums = updated + (sums[K * WIDE] + gradients[(s + REACH) * WIDE + WIDE // 2],)
            m_out = m & inside(start, s, LENGTH, SHARE)
            tl.store(grad_x + offset + s * NEXT * C, total.to(grad_x.dtype.element_ty), mask=m_out)
    first = (program - tile * SLICES) * (ACROSS * VECTOR)
    _add_up(sums, partial, tile, first, G, K * WIDE + 1, BLOCK, VECTOR, ACROSS)


@triton.jit(do_not_specialize=["N"])
def backward_kernel(
    x, grad_y, w_square, w_row, w_column, grad_x, p_square, p_row, p_column, N, H: tl.constexpr, W: tl.constexpr,
    C: tl.constexpr, G: tl.constexpr, K_SQUARE: tl.constexpr, K_BAND: tl.constexpr, X_IMAGE: tl.constexpr,
    X_PIXEL: tl.constexpr, VECTOR: tl.constexpr, ACROSS: tl.constexpr, SHARE_ROW: tl.constexpr,
    SHARE_COLUMN: tl.constexpr, SHARE_SQUARE: tl.constexpr, STEPS_ROW: tl.constexpr, STEPS_COLUMN: tl.constexpr,
    STEPS_SQUARE: tl.constexpr, COPY_VECTOR: tl.constexpr, COPY_COUNT: tl.constexpr, TURN_ROW: tl.constexpr,
    TURN_COLUMN: tl.constexpr, TURN_SQUARE: tl.constexpr, TURN_COPY: tl.constexpr, BLOCK: tl.constexpr,
    PART: tl.constexpr,
):  # fmt: skip
    """PART: -1 is what ships; 0, 1, 2, 3 are copy, square, row, column alone, for counting. grad_y and grad_x: dense.

    p_*: rows of partial sums [taps + 1, g], one a program.
    """
    COPIED: tl.constexpr = C - 3 * G
    SLICES: tl.constexpr = (G // VECTOR + ACROSS - 1) // ACROSS
    RUNS: tl.constexpr = BLOCK // ACROSS
    AFTER_COLUMN: tl.constexpr = TURN_ROW + TURN_COLUMN
    AFTER_SQUARE: tl.constexpr = AFTER_COLUMN + TURN_SQUARE
    turn = tl.program_id(0) // (AFTER_SQUARE + TURN_COPY)
    place = tl.program_id(0) - turn * (AFTER_SQUARE + TURN_COPY)
    if PART == -1 or PART == 2:
        program = turn * TURN_ROW + place
        exists = program // SLICES * (STEPS_ROW * RUNS) < places_of(N, True, H, W, SHARE_ROW)
        # Only the last round of turns has programs behind the last unit.
        if (place < TURN_ROW) & exists:
            _branch(
                x, grad_y, w_row, grad_x, p_row, program, N, COPIED + G, 2, H, W, C, G, X_IMAGE, X_PIXEL,
                SHARE_ROW, K_BAND, STEPS_ROW, BLOCK, VECTOR, ACROSS,
            )  # fmt: skip
    if PART == -1 or PART == 3:
        program = turn * TURN_COLUMN + place - TURN_ROW
        exists = program // SLICES * (STEPS_COLUMN * RUNS) < places_of(N, False, H, W, SHARE_COLUMN)
        if (place >= TURN_ROW) & (place < AFTER_COLUMN) & exists:
            _branch(
                x, grad_y, w_column, grad_x, p_column, program, N, COPIED + 2 * G, 3, H, W, C, G, X_IMAGE, X_PIXEL,
                SHARE_COLUMN, K_BAND, STEPS_COLUMN, BLOCK, VECTOR, ACROSS,
            )  # fmt: skip
    if PART == -1 or PART == 1:
        program = turn * TURN_SQUARE + place - AFTER_COLUMN
        exists = program // SLICES * (STEPS_SQUARE * RUNS) < places_of(N, False, H, W, SHARE_SQUARE)
        if (place >= AFTER_COLUMN) & (place < AFTER_SQUARE) & exists:
            _branch(
                x, grad_y, w_square, grad_x, p_square, program, N, COPIED, 1, H, W, C, G, X_IMAGE, X_PIXEL,
                SHARE_SQUARE, K_SQUARE, STEPS_SQUARE, BLOCK, VECTOR, ACROSS,
            )  # fmt: skip
    if TURN_COPY > 0 and (PART == -1 or PART == 0):
        program = turn * TURN_COPY + place - AFTER_SQUARE
        exists = program.to(tl.int64) * (BLOCK * COPY_COUNT) < N.to(tl.int64) * (H * W * (COPIED // COPY_VECTOR))
        if (place >= AFTER_SQUARE) & exists:
            identity(grad_y, grad_x, program, N, H, W, C, COPIED, H * W * C, C, COPY_VECTOR, COPY_COUNT, BLOCK)


@triton.jit
def _sum_rows(
    partial, grad_w, grad_b, program, rows, TAPS: tl.constexpr, G: tl.constexpr, ROUNDS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    column = program * COLUMNS + tl.arange(0, COLUMNS)
    exists = column < (TAPS + 1) * G
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for i in range(ROUNDS):
        row = i * ROWS + tl.arange(0, ROWS)[:, None]
        offset = row.to(tl.int64) * ((TAPS + 1) * G) + column[None, :]
        total += tl.load(partial + offset, mask=(row < rows) & exists[None, :], other=0.0)
    sums = tl.sum(total, axis=0)
    t = column // G
    c = column - t * G
    tl.store(grad_w + c * TAPS + t, sums.to(grad_w.dtype.element_ty), mask=t < TAPS)
    tl.store(grad_b + c, sums.to(grad_b.dtype.element_ty), mask=exists & (t == TAPS))


@triton.jit(do_not_specialize=["rows_square", "rows_row", "rows_column"])
def sum_kernel(
    p_square, p_row, p_column, grad_square, grad_row, grad_column, b_square, b_row, b_column, rows_square, rows_row,
    rows_column, G: tl.constexpr, K_SQUARE: tl.constexpr, K_BAND: tl.constexpr, ROUNDS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Adds the rows of partial sums of each branch, COLUMNS columns a program, into [g, 1, kh, kw] and [g]."""
    BAND: tl.constexpr = ((K_BAND + 1) * G + COLUMNS - 1) // COLUMNS
    program = tl.program_id(0)
    if program < BAND:
        _sum_rows(p_row, grad_row, b_row, program, rows_row, K_BAND, G, ROUNDS, ROWS, COLUMNS)
    elif program < 2 * BAND:
        _sum_rows(p_column, grad_column, b_column, program - BAND, rows_column, K_BAND, G, ROUNDS, ROWS, COLUMNS)
    else:
        _sum_rows(
            p_square,
            grad_square,
            b_square,
            program - 2 * BAND,
            rows_square,
            K_SQUARE * K_SQUARE,
            G,
            ROUNDS,
            ROWS,
            COLUMNS,
        )


def _sums(plan: Plan) -> tuple[tuple[int, ...], dict[str, int], int]:
    """Rows of partial sums of the square, the row and the column, and the constants and programs of `sum_kernel`."""
    constants = plan.constants
    names = ("SQUARE", "ROW", "COLUMN")
    shares = tuple(constants[f"SHARE_{name}"] for name in names)
    runs = tuple(constants[f"STEPS_{name}"] * constants["BLOCK"] // constants["ACROSS"] for name in names)
    return _sums_of(plan.geometry, plan.num_warps, shares, runs)


@functools.lru_cache(maxsize=4096)
def _sums_of(
    geometry: Geometry, warps: int, shares: tuple[int, ...], runs: tuple[int, ...]
) -> tuple[tuple[int, ...], dict[str, int], int]:
    g, columns = geometry, 8
    rows = tuple(
        triton.cdiv(g.batch * places(g, part, share), run)
        for part, share, run in zip(("square", "row", "column"), shares, runs, strict=True)
    )
    # Four rows a thread are loaded at once. Trips are a power of two, so that few variants are compiled.
    at_once = min(4 * 32 * warps, triton.next_power_of_2(max(rows)))
    rounds = triton.next_power_of_2(triton.cdiv(max(rows), at_once))
    programs = 2 * triton.cdiv((g.band + 1) * g.branch, columns) + triton.cdiv((g.square**2 + 1) * g.branch, columns)
    sizes = {"G": g.branch, "K_SQUARE": g.square, "K_BAND": g.band}
    return rows, {**sizes, "ROUNDS": rounds, "ROWS": at_once, "COLUMNS": columns}, programs


def partial_bytes(plan: Plan) -> int:
    """What the first launch writes, and the second reads, of partial sums."""
    g = plan.geometry
    return sum(
        rows * (taps + 1) * g.branch * 4
        for rows, taps in zip(_sums(plan)[0], (g.square**2, g.band, g.band), strict=True)
    )


def backward(
    x: Tensor, grad_y: Tensor, weights: Sequence[Tensor], plan: Plan
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The gradients of x (dense in channels_last), of the weights and of the biases, in the dtypes of x and weights.

    x [N, C, H, W]: channels dense, rows behind each other. grad_y: dense in channels_last.
    """
    weights = [weight.contiguous() for weight in weights]
    grad_x = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    grads_w = [torch.empty_like(weight) for weight in weights]
    grads_b = [weight.new_empty(weight.shape[0]) for weight in weights]
    rows, sums, programs = _sums(plan)
    partials = [
        torch.empty(count, weight[0].numel() + 1, weight.shape[0], dtype=torch.float32, device=x.device)
        for count, weight in zip(rows, weights, strict=True)
    ]
    arguments = (x, grad_y, *weights, grad_x, *partials, x.shape[0])
    constants = {**plan.constants, **strides(x)}
    backward_kernel[(plan.programs,)](*arguments, **constants, PART=-1, **plan.options)
    sum_kernel[(programs,)](*partials, *grads_w, *grads_b, *rows, **sums, **plan.options)
    return grad_x, grads_w, grads_b


def variants(
    plan: Plan, dtype: torch.dtype, out_dtype: torch.dtype | None = None, weight_dtype: torch.dtype | None = None
) -> list[Variant]:
    """What the static checks compile: as `triton_nhwc_forward.variants`, and the kernel that adds the partial sums."""
    weight, single = weight_dtype or dtype, torch.float32
    types: list[torch.dtype | str] = [dtype, out_dtype or dtype, *[weight] * 3, dtype, *[single] * 3, "i32"]
    _, sums, programs = _sums(plan)
    added = signature_of(sum_kernel, [*[single] * 3, *[weight] * 6, *["i32"] * 3])
    return [
        *variants_of(backward_kernel, signature_of(backward_kernel, types), plan.constants, plan),
        (sum_kernel, added, sums, (programs,), plan.options),
    ]
