"""How programs that hold y in registers give the mean and the variance of its channels, without reading y again.

Moments are a count, a mean and a sum of squared deviations from it. A thread takes its outputs as they are stored, from
its first one on, so that a large mean costs no digits; a program joins its threads channel by channel and writes one
row; `join_rows_kernel` joins the rows in a fixed order: the same bits from run to run. Joining is the formula of Chan,
Golub and LeVeque (1979).

Rows are [rows, 2, C] in float32: means, then deviations. Counts are [rows, 4]: of the channels of the identity, the
square, the row and the column, which are the parts 0 to 3.
"""

# Triton's functions are typed by their callers.
# mypy: disallow-untyped-decorators=False, disable-error-code="no-untyped-def, assignment"

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launch import PARTS, Plan, Variant, signature_of

JOINED_ROWS, JOINED_CHANNELS = 512, 4


@triton.jit
def no_moments(THREADS: tl.constexpr, WIDTH: tl.constexpr):
    """What threads begin with: a value that distances are from, a count, the sums of distances and of their squares."""
    zero = tl.zeros([THREADS], tl.float32) if WIDTH == 0 else tl.zeros([THREADS, WIDTH], tl.float32)
    return zero, zero, zero, zero


@triton.jit
def as_stored(y, values):
    """Values as y will have them."""
    return values.to(y.dtype.element_ty).to(tl.float32)


@triton.jit
def with_values(found, y, values, m, FIRST: tl.constexpr, WHOLE: tl.constexpr):
    """The moments of threads with one more value of each. WHOLE: they all exist, or the thread has none."""
    first, count, total, squares = found
    stored = as_stored(y, values)
    if FIRST:
        first = stored
    apart = stored - first
    if not WHOLE:
        apart = tl.where(m, apart, 0.0)
        count += tl.where(m, 1.0, 0.0)
    return first, count, total + apart, squares + apart * apart


@triton.jit
def with_piece(found, y, piece, m, FIRST: tl.constexpr, WHOLE: tl.constexpr):
    """The moments of threads [units] with a piece [units, V] of each."""
    first, count, total, squares = found
    stored = as_stored(y, piece)
    V: tl.constexpr = stored.shape[1]
    if FIRST:
        first = tl.sum(stored, 1) * (1.0 / V)
    apart = stored - first[:, None]
    if not WHOLE:
        apart = tl.where(m[:, None], apart, 0.0)
        count += tl.where(m, 1.0 * V, 0.0)
    return first, count, total + tl.sum(apart, 1), squares + tl.sum(apart * apart, 1)


@triton.jit
def finished(found, m, COUNT: tl.constexpr):
    """(count, mean, deviation) of each thread. COUNT: of every thread that exists, 0 where they differ."""
    first, count, total, squares = found
    if COUNT > 0:
        count = tl.where(m, 1.0 * COUNT, 0.0)
        mean = total * (1.0 / COUNT)
    else:
        mean = total / tl.maximum(count, 1.0)
    return count, first + mean, squares - total * mean


@triton.jit
def joined(count, mean, deviation, total, AXIS: tl.constexpr):
    """(mean, deviation) of everything along an axis, whose counts are total."""
    centre = tl.sum(count * mean, AXIS) / tl.maximum(total, 1.0)
    apart = mean - tl.expand_dims(centre, AXIS)
    return centre, tl.sum(deviation + count * (apart * apart), AXIS)


@triton.jit
def write_row(rows, counts, row, channel, m, counts_too, count, mean, deviation, C: tl.constexpr, PART: tl.constexpr):
    """Write moments of channels into their rows, where m. counts_too: at one channel of a part, for all of them."""
    tl.store(rows + row * (2 * C) + channel, mean, mask=m)
    tl.store(rows + row * (2 * C) + (C + channel), deviation, mask=m)
    tl.store(counts + row * 4 + (PART + 0 * channel), count, mask=m & counts_too)


@triton.jit(do_not_specialize=["identity_rows", "square_rows", "row_rows", "column_rows"])
def join_rows_kernel(
    rows, counts, means, variances, identity_rows, square_rows, row_rows, column_rows, C: tl.constexpr,
    GC: tl.constexpr, ROUNDS: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The mean and the variance (over the count) of CHANNELS channels; *_rows: how many rows each part has.

    ROUNDS of ROWS rows are all that there are.
    """
    c = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    exists = c < C
    part = tl.where(c < C - 3 * GC, 0, (c - (C - 3 * GC)) // GC + 1)
    last = tl.where(part == 0, identity_rows, tl.where(part == 1, square_rows, row_rows))
    last = tl.where(part == 3, column_rows, last)
    # Distances to the mean of the first row: one pass, and no digits lost.
    first = tl.load(rows + c, mask=exists, other=0.0)
    total = tl.zeros([ROWS, CHANNELS], tl.float32)
    distances, deviations = total, total
    for i in range(ROUNDS):
        row = i * ROWS + tl.arange(0, ROWS)[:, None]
        m = (row < last[None, :]) & exists[None, :]
        count = tl.load(counts + row * 4 + part[None, :], mask=m, other=0.0)
        mean = tl.load(rows + row.to(tl.int64) * (2 * C) + c[None, :], mask=m, other=0.0)
        deviation = tl.load(rows + row.to(tl.int64) * (2 * C) + (C + c)[None, :], mask=m, other=0.0)
        apart = tl.where(m, mean - first[None, :], 0.0)
        total += count
        distances += count * apart
        deviations += deviation + count * (apart * apart)
    count = tl.maximum(tl.sum(total, 0), 1.0)
    distance = tl.sum(distances, 0) / count
    tl.store(means + c, first + distance, mask=exists)
    tl.store(variances + c, tl.sum(deviations, 0) / count - distance * distance, mask=exists)


def moment_bytes(plan: Plan) -> int:
    """What the first launch writes, and the second reads, of moments."""
    g = plan.geometry
    widths = zip(PARTS, (g.identity, g.branch, g.branch, g.branch), strict=True)
    return sum(plan.rows[part] * (2 * width + 1) * 4 for part, width in widths)


def moment_tensors(plan: Plan, device: torch.device) -> tuple[Tensor, Tensor]:
    """Room for the rows and for their counts."""
    most = max(plan.rows.values())
    rows = torch.empty(most, 2, plan.geometry.channels, dtype=torch.float32, device=device)
    return rows, torch.empty(most, 4, dtype=torch.float32, device=device)


def join_rows(rows: Tensor, counts: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """The mean and the variance of every channel, [C] each in float32."""
    channels = plan.geometry.channels
    means, variances = (torch.empty(channels, dtype=torch.float32, device=rows.device) for _ in range(2))
    of_parts = (plan.rows[part] for part in PARTS)
    join_rows_kernel[_grid(plan)](rows, counts, means, variances, *of_parts, **_constants(plan), **plan.options)
    return means, variances


def variants(plan: Plan) -> Sequence[Variant]:
    """What the static checks compile of the second launch."""
    signature = signature_of(join_rows_kernel, [*[torch.float32] * 4, *["i32"] * 4])
    return [(join_rows_kernel, signature, _constants(plan), _grid(plan), plan.options)]


def _grid(plan: Plan) -> tuple[int]:
    return (triton.cdiv(plan.geometry.channels, JOINED_CHANNELS),)


def _constants(plan: Plan) -> dict[str, int | bool]:
    g, most = plan.geometry, int(triton.next_power_of_2(max(plan.rows.values())))
    # Powers of two, so that few variants are compiled.
    at_once = min(most, JOINED_ROWS)
    return {"C": g.channels, "GC": g.branch, "ROUNDS": most // at_once, "ROWS": at_once, "CHANNELS": JOINED_CHANNELS}
