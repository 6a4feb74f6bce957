"""Did a commit make it slower, or many commits a little each? Change points in a series of ratios to a pinned baseline.

A series is looked at after every commit, so a plain rule alarms sooner or later on nothing. Three things hold it back:
a step must be larger than the margin and than what the scatter makes, nothing is said before the 20th commit, and an
alarm needs a fresh measurement of the same commit that shows the step again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.gate.estimate import Array

STEP, CREEP, NOTHING = "step", "creep", ""
# Commits before the first step can be an alarm, and those that a creep needs.
FIRST_LOOK, FIRST_CREEP = 20, 5
# A step counts from this many standard errors on: about 80 looks at 100 commits, on noise that is not normal.
_STEP_ERRORS = 4.0
# Commits before a step whose median is the level before it, where the last segment is shorter.
_RECENT = 10
# A creep is seen in the median of this many last values, this many margins above the baseline.
_CREEP_VALUES, _CREEP_MARGINS = 3, 2.5


@dataclass(frozen=True, slots=True)
class Suspects:
    """What the last commit of each series is suspected of; arrays of the series' leading dimensions.

    kind: "step", "creep" or "". start: the first commit of the last segment. before: the level (a ratio) that a fresh
    measurement must exceed by ``least`` (a share) to confirm. size: the step, or the creep so far, as a share.
    """

    kind: NDArray[np.str_]
    start: NDArray[np.int64]
    before: Array
    least: Array
    size: Array


@dataclass(frozen=True, slots=True)
class Stretches:
    """Every stretch [start, end) of series: its median, and its cost, the sum of absolute distances from it.

    Both (..., n + 1, n + 1). What is known of the first commits stays, so growing series share one.
    """

    medians: Array
    costs: Array

    def until(self, count: int) -> Stretches:
        """The stretches of the first ``count`` values."""
        return Stretches(self.medians[..., : count + 1, : count + 1], self.costs[..., : count + 1, : count + 1])


def stretches(values: Array) -> Stretches:
    """All stretches of series (..., n)."""
    count = values.shape[-1]
    medians, costs = np.zeros((2, *values.shape[:-1], count + 1, count + 1))
    for length in range(1, count + 1):
        half, middle = length // 2, (length - 1) // 2
        windows = np.lib.stride_tricks.sliding_window_view(values, length, axis=-1)
        parted = np.partition(windows, (middle, half), axis=-1)
        starts = np.arange(count - length + 1)
        medians[..., starts, starts + length] = (parted[..., middle] + parted[..., half]) / 2
        costs[..., starts, starts + length] = parted[..., length - half :].sum(axis=-1) - parted[..., :half].sum(
            axis=-1
        )
    return Stretches(medians, costs)


def _partition(costs: Array, penalty: Array) -> NDArray[np.int64]:
    """For every end, where its last segment starts in the cheapest partition: (..., n + 1)."""
    count = costs.shape[-1] - 1
    best = np.zeros(costs.shape[:-1])
    best[..., 0] = -penalty
    starts = np.zeros(costs.shape[:-1], dtype=np.int64)
    for end in range(1, count + 1):
        ways = best[..., :end] + costs[..., :end, end] + penalty[..., None]
        starts[..., end] = ways.argmin(axis=-1)
        best[..., end] = np.take_along_axis(ways, starts[..., end, None], -1)[..., 0]
    return starts


def change_points(values: ArrayLike, penalty: float) -> tuple[int, ...]:
    """Where segments of one series begin, the first (0) left out, by L1 optimal partitioning (Jackson et al. 2005).

    values: (n,). penalty: what a further segment must save in the sum of absolute distances from the medians.
    """
    series = np.asarray(values, dtype=np.float64)
    starts = _partition(stretches(series).costs, np.asarray(penalty, dtype=np.float64))
    found, end = [], len(series)
    while end > 0:
        end = int(starts[end])
        found.append(end)
    return tuple(sorted(found)[1:])


def _scatter(logs: Array) -> Array:
    """Mean absolute deviation, from neighbours: a step between two values hardly moves it; inf for one value."""
    if logs.shape[-1] < 2:
        return np.full(logs.shape[:-1], np.inf)
    return np.asarray(np.median(np.abs(np.diff(logs, axis=-1)), axis=-1) / (0.6745 * np.sqrt(2)) * 0.8)


def suspects(ratios: ArrayLike, *, margin: float = 0.01) -> Suspects:
    """What the last commit of each series is suspected of.

    ratios: (..., commits), time over that of the pinned baseline, in the order of the commits (the last 100 count).
    """
    logs = np.log(np.asarray(ratios, dtype=np.float64))[..., -100:]
    if not np.isfinite(logs).all() or logs.shape[-1] == 0:
        raise ValueError("expected ratios of times, positive, at least one")
    return suspects_from(logs, stretches(logs), margin)


def suspects_from(logs: Array, known: Stretches, margin: float) -> Suspects:
    """As ``suspects``, from logarithms and their stretches."""
    count, shape = logs.shape[-1], logs.shape[:-1]
    flat = logs.reshape(-1, count)
    table = Stretches(*(part.reshape(-1, count + 1, count + 1) for part in (known.medians, known.costs)))
    start, before, size, errors = _last_step(flat, table)
    is_step = (size > np.log1p(margin)) & (size > errors)
    level = np.median(flat[:, -_CREEP_VALUES:], axis=1)
    crept = np.maximum(np.log1p(_CREEP_MARGINS * margin), _STEP_ERRORS * _scatter(flat) / 0.8 / np.sqrt(_CREEP_VALUES))
    is_creep = ~is_step & (level > crept) & (count >= FIRST_CREEP)
    return Suspects(
        np.where(is_step, STEP, np.where(is_creep, CREEP, NOTHING)).reshape(shape),
        start.reshape(shape),
        np.where(is_step, np.exp(before), 1.0).reshape(shape),
        np.expm1(np.where(is_step, np.maximum(np.log1p(margin), errors / 2), crept)).reshape(shape),
        np.expm1(np.where(is_step, size, level)).reshape(shape),
    )


def _last_step(flat: Array, known: Stretches) -> tuple[NDArray[np.int64], Array, Array, Array]:
    """Start of the last segment, level before it, step up to it, and the step that scatter alone may make."""
    series, count = flat.shape
    if count < FIRST_LOOK:
        nothing = np.zeros(series)
        return nothing.astype(np.int64), nothing, nothing, np.full(series, np.inf)
    deviation = np.maximum(_scatter(flat), 1e-12)
    starts = _partition(known.costs, 2 * deviation * np.log(count))
    rows = np.arange(series)
    start = starts[:, count]
    earlier = starts[rows, start]
    # The way back from an outlier is no step: the level before is not below that of the last commits before.
    recent = known.medians[rows, np.maximum(start - _RECENT, 0), start]
    before = np.maximum(known.medians[rows, earlier, start], recent)
    residual = known.costs[rows, start, count] + known.costs[rows, earlier, start]
    sigma = np.maximum(residual / np.maximum(count - earlier - 2, 1), deviation) / 0.8
    errors = _STEP_ERRORS * sigma * np.sqrt(1 / (count - start) + 1 / np.maximum(start - earlier, 1))
    size = np.where(start > 0, known.medians[rows, start, count] - before, 0.0)
    return start, before, size, errors


def confirmed(found: Suspects, fresh_ratio: ArrayLike) -> NDArray[np.bool_]:
    """Whether a fresh measurement of the same commit shows the step, or the creep, again. fresh_ratio: NaN for none."""
    fresh = np.asarray(fresh_ratio, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        again = fresh > found.before * (1 + found.least)
    return np.asarray((found.kind != NOTHING) & again, dtype=np.bool_)
