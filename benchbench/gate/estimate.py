"""By how much did a time change, and how well is that known? Differences of logarithms, with their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """An effect for each point, arrays of one shape. NaN where too few rounds are known.

    effect: mean log ratio, current over before: above 0 is slower. error: its standard error, with ``freedom`` degrees
    of freedom. spread: standard deviation of the log ratio of one pair of rounds. rounds: those that it rests on.
    """

    effect: Array
    error: Array
    freedom: Array
    spread: Array
    rounds: NDArray[np.int64]

    def at(self, where: Any) -> Estimate:
        """The estimates of some points."""
        return Estimate(
            self.effect[where], self.error[where], self.freedom[where], self.spread[where], self.rounds[where]
        )


def _moments(logs: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """Mean, variance and number of what is known along the last axis."""
    known = np.isfinite(logs)
    if known.all() and logs.shape[-1] > 1:
        count = np.full(logs.shape[:-1], logs.shape[-1], dtype=np.int64)
        return (
            np.asarray(logs.mean(axis=-1), dtype=np.float64),
            np.asarray(logs.var(axis=-1, ddof=1), dtype=np.float64),
            count,
        )
    count = known.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, logs, 0.0).sum(axis=-1) / np.where(count > 0, count, np.nan)
        squares = (np.where(known, logs - mean[..., None], 0.0) ** 2).sum(axis=-1)
        variance = squares / np.where(count > 1, count - 1, np.nan)
    return mean, variance, count


def _logs(seconds: ArrayLike) -> Array:
    """Logarithms of the rounds' medians; NaN where a round is missing. ValueError for what is no time."""
    values = np.asarray(seconds, dtype=np.float64)
    if values.ndim == 0 or bool((values <= 0).any()) or bool(np.isinf(values).any()):
        raise ValueError("expected arrays of positive seconds, the last axis the rounds, NaN for a missing one")
    return np.log(values)


def paired(before: ArrayLike, current: ArrayLike) -> Estimate:
    """The effect from rounds measured in pairs: before[..., i] and current[..., i] next to each other in time."""
    old, new = _logs(before), _logs(current)
    if old.shape != new.shape:
        raise ValueError(f"pairs of rounds need arrays of one shape, got {old.shape} and {new.shape}")
    mean, variance, count = _moments(new - old)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.asarray(np.sqrt(variance / count), dtype=np.float64)
    freedom = np.asarray(count - 1.0, dtype=np.float64)
    return Estimate(mean, error, freedom, np.sqrt(variance), count)


def welch(before: ArrayLike, current: ArrayLike, *, offset: float = 0.0) -> Estimate:
    """The effect from two sets of rounds that have nothing to do with each other, by Welch (1947) on logarithms.

    offset: standard deviation by which a point moves from one sitting to the next, taken as known. An arm whose few
    rounds happened to scatter less than both arms together is taken to scatter as they do: with skewed noise a low
    mean and a low scatter come together, and would look like a sure change.
    """
    (old, old_variance, old_count), (new, new_variance, new_count) = _moments(_logs(before)), _moments(_logs(current))
    with np.errstate(invalid="ignore", divide="ignore"):
        together = old_variance * (old_count - 1) + new_variance * (new_count - 1)
        together = together / (old_count + new_count - 2)
        parts = np.maximum(old_variance, together) / old_count, np.maximum(new_variance, together) / new_count
        square = parts[0] + parts[1] + offset**2
        freedom = square**2 / (parts[0] ** 2 / (old_count - 1) + parts[1] ** 2 / (new_count - 1))
        # Without any scatter there is nothing to estimate: then the offset alone is the error.
        freedom = np.where(np.isnan(freedom) & (square >= 0), np.inf, freedom)
        spread = np.sqrt(old_variance + new_variance)
    return Estimate(new - old, np.sqrt(square), freedom, spread, np.minimum(old_count, new_count))


def between_sittings(sittings: Sequence[ArrayLike]) -> float:
    """The standard deviation by which points move from one sitting to the next although nothing has changed.

    sittings: (points, rounds) median seconds each, of the same points in the same order. It is what the variance of a
    point's means has beyond what the scatter of their rounds explains, over all points together and at least 0.
    Raises ValueError for fewer than three sittings, which tell too little.
    """
    if len(sittings) < 3:
        raise ValueError(f"how much points move between sittings takes three of them, got {len(sittings)}")
    found = [_moments(_logs(seconds)) for seconds in sittings]
    means = np.stack([mean for mean, _, _ in found])
    with np.errstate(invalid="ignore", divide="ignore"):
        explained = np.stack([variance / count for _, variance, count in found]).mean(axis=0)
    beyond = means.var(axis=0, ddof=1) - explained
    return float(np.sqrt(max(float(np.nanmean(beyond)), 0.0)))


def p_beyond(estimate: Estimate, bound: Array | float) -> Array:
    """One-sided p-values against "the effect is at most ``bound``", one for all or one each; NaN where unknown."""
    distance = estimate.effect - bound
    with np.errstate(invalid="ignore", divide="ignore"):
        score = -distance / estimate.error
        found = np.where(np.isinf(estimate.freedom), special.ndtr(score), special.stdtr(estimate.freedom, score))
    exact = (estimate.error == 0) & (estimate.freedom > 0)
    return np.asarray(np.where(exact, np.where(distance > 0, 0.0, 1.0), found), dtype=np.float64)


def mirrored(estimate: Estimate) -> Estimate:
    """The same with slower and faster exchanged."""
    return Estimate(-estimate.effect, estimate.error, estimate.freedom, estimate.spread, estimate.rounds)


def holm(p_values: ArrayLike) -> Array:
    """p-values adjusted for the number of tests along the last axis (Holm 1979); NaN is no test and stays NaN."""
    p = np.asarray(p_values, dtype=np.float64)
    if p.shape[-1] == 0:
        return p
    order = np.argsort(p, axis=-1)
    ordered = np.take_along_axis(p, order, -1)
    tests = np.isfinite(p).sum(axis=-1, keepdims=True)
    scaled = np.fmin(ordered * (tests - np.arange(p.shape[-1])), 1.0)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(scaled, axis=-1), -1)
    return np.where(np.isfinite(p), adjusted, np.nan)


def interval(estimate: Estimate, level: float) -> tuple[Array, Array]:
    """The interval of the effect, as log ratios; NaN where nothing is known."""
    with np.errstate(invalid="ignore"):
        half = special.stdtrit(estimate.freedom, 0.5 + level / 2) * estimate.error
    half = np.where(np.isinf(estimate.freedom), special.ndtri(0.5 + level / 2) * estimate.error, half)
    return estimate.effect - half, estimate.effect + half
