"""How far can a series of times be trusted? Intervals of medians, effective sample size, where the warm-up ends.

Every function takes an array of times, at least one, in the order in which they were measured. Those that say so take
any leading dimensions: the last axis is the series.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import atan, ceil, cos, log, pi, sin, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# Samples beyond these quantiles count as the quantiles when the correlation of neighbours is estimated: one
# interrupted sample must not hide that its neighbours move together.
_TRIM = 0.05
_LAGS = 64
# Standard errors added to that estimate: an interval that stops a measurement must cover when the estimate is low.
_DOUBT = 0.3
# Warm-up: time constants tried, blocks of a long series that they are tried on, samples below which nothing is judged.
_CURVES = 40
_BLOCKS = 400
_LEAST_TO_JUDGE = 10
# Thresholds, set by the simulations in tests/test_series.py: the gain in squared noise that makes a trend; the
# correlation of neighbours that certainly wanders, or does not follow a trend (unless what the trend leaves is this
# share of the variance); the distance of two modes in deviations within the wider one.
_TREND_GAIN = 20.0
_WANDERING = 0.7
_FOLLOWS = 0.4
_CLOSELY = 0.05
_APART = 3.5


@lru_cache(maxsize=4096)
def normal_quantile(probability: float) -> float:
    """The value that a standard normal stays below with this probability."""
    return NormalDist().inv_cdf(probability)


def _student_cdf(value: float, freedom: int) -> float:
    """Student's t for whole degrees of freedom: Abramowitz and Stegun 26.7.3 (odd) and 26.7.4 (even)."""
    angle = atan(value / sqrt(freedom))
    cosine, sine = cos(angle), sin(angle)
    term, total = (cosine, cosine) if freedom % 2 else (1.0, 1.0)
    for k in range(3 if freedom % 2 else 2, freedom - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    if freedom % 2 == 0:
        return 0.5 + sine * total / 2
    return 0.5 + (angle + (sine * total if freedom > 1 else 0.0)) / pi


@lru_cache(maxsize=4096)
def student_quantile(probability: float, freedom: int) -> float:
    """The value that Student's t with ``freedom`` >= 1 degrees of freedom stays below with this probability."""
    if not 0 < probability < 1 or freedom < 1:
        raise ValueError(f"expected 0 < probability < 1 and freedom >= 1, got {probability} and {freedom}")
    if probability < 0.5:
        return -student_quantile(1 - probability, freedom)
    if freedom > 400:
        normal = normal_quantile(probability)
        second = (5 * normal**5 + 16 * normal**3 + 3 * normal) / (96 * freedom**2)
        return normal + (normal**3 + normal) / (4 * freedom) + second
    low, high = 0.0, 1.0
    while _student_cdf(high, freedom) < probability:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def _series(samples: ArrayLike) -> Array:
    """The samples as an array of floats. Raises ValueError where there are none or one is no finite number."""
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise ValueError("no samples: measure at least one")
    if not np.isfinite(values).all():
        raise ValueError("a sample is not a finite number: a clock is broken")
    return values


def _neighbours(values: Array, ordered: Array) -> Array:
    """Correlation of each sample with the next, extremes trimmed, corrected for the bias of a short series."""
    count = values.shape[-1]
    rank = int(_TRIM * count)
    trimmed = np.clip(values, ordered[..., rank, None], ordered[..., count - 1 - rank, None])
    centred = trimmed - trimmed.mean(axis=-1, keepdims=True)
    power = np.einsum("...i,...i->...", centred, centred)
    product = np.einsum("...i,...i->...", centred[..., 1:], centred[..., :-1])
    # Differences within the rounding of the values are no information: a constant series is not correlated.
    moves = power > count * (1e-14 * np.abs(ordered[..., -1])) ** 2
    raw = np.divide(product, power, out=np.zeros_like(power), where=moves)
    # Kendall (1954): the estimate of an AR(1) coefficient with an estimated mean is low by (1 + 4 rho) / n.
    uncertain = _DOUBT * np.sqrt(np.maximum(1 - raw**2, 0.0) / count)
    corrected = np.where(moves, raw + (1 + 4 * raw) / count + uncertain, 0.0)
    return np.asarray(np.clip(corrected, 0.0, max(0.0, 1 - 2 / count)), dtype=np.float64)


def _effective(values: Array, ordered: Array) -> Array:
    count = values.shape[-1]
    lags = np.arange(1, min(_LAGS, count))
    correlation = _neighbours(values, ordered)[..., None] ** lags
    # The median looks at signs; those of a normal AR(1) at lag k correlate by 2/pi asin(rho^k), less than the values.
    inflation = 1 + 2 * ((2 / pi) * np.arcsin(correlation) * (1 - lags / count)).sum(axis=-1)
    return np.asarray(count / inflation, dtype=np.float64)


def effective_sample_size(samples: ArrayLike) -> Any:
    """How many independent samples would fix the median as well as these; at most their number.

    samples: (..., n) in the order of measurement. Returns a float for one series, else an array (...). The model is a
    first-order autoregression, its coefficient estimated from neighbours and corrected for short series.
    """
    values = _series(samples)
    found = _effective(values, np.sort(values, axis=-1))
    return float(found) if values.ndim == 1 else found


def median_interval(samples: ArrayLike, level: float = 0.95) -> tuple[Any, Any]:
    """The interval that covers the median of a correlated series with probability ``level``, from order statistics.

    samples: (..., n) in the order of measurement. Returns (low, high): floats for one series, else arrays (...).
    Fewer than 6 samples cannot give 95 %: then low and high are the least and the greatest sample, and one sample is
    its own interval. The ranks come from the normal approximation of the binomial at the effective sample size,
    widened like Student's t because that size is itself an estimate.
    """
    values = _series(samples)
    count = values.shape[-1]
    ordered = np.sort(values, axis=-1)
    size = _effective(values, ordered)
    normal = normal_quantile(0.5 + level / 2)
    spread = normal + (normal**3 + normal) / (4 * np.maximum(size - 1, 1))
    rank = np.clip((count + 1) * (0.5 - spread / (2 * np.sqrt(size))), 1, (count + 1) / 2) - 1
    whole = np.minimum(rank.astype(np.int64), max(count - 2, 0))
    part = rank - whole
    after = np.minimum(whole + 1, count - 1)

    def between(first: Any, second: Any) -> Any:
        one = np.take_along_axis(ordered, first[..., None], -1)[..., 0]
        other = np.take_along_axis(ordered, second[..., None], -1)[..., 0]
        return one + part * (other - one)

    low, high = between(whole, after), between(count - 1 - whole, count - 1 - after)
    return (float(low), float(high)) if values.ndim == 1 else (low, high)


def rounds_interval(round_medians: ArrayLike, level: float = 0.95) -> tuple[float | None, float | None]:
    """The interval of the result of several rounds: Student's t on the logarithms of the rounds' medians.

    Returns (None, None) for fewer than two rounds: nothing within one process says what the next will give. Raises
    ValueError for a time that is not positive.
    """
    medians = np.asarray(round_medians, dtype=np.float64).ravel()
    if len(medians) and not (np.isfinite(medians).all() and (medians > 0).all()):
        raise ValueError("a round's median is not a positive number of seconds")
    if len(medians) < 2:
        return None, None
    logs = np.log(medians)
    half = student_quantile(0.5 + level / 2, len(logs) - 1) * logs.std(ddof=1) / sqrt(len(logs))
    return float(np.exp(logs.mean() - half)), float(np.exp(logs.mean() + half))


@dataclass(frozen=True, slots=True)
class Warmup:
    """How a series begins. end: the first sample that is steady, by the fitted settling curve; its length if none is.

    kind: "flat"; "warming" (times fall to a steady value); "slowing" (they rise); "bimodal"; "unsteady" (neither).
    """

    end: int
    kind: str


@lru_cache(maxsize=64)
def _settling(count: int) -> tuple[Array, Array]:
    """Time constants to try on ``count`` values, and the centred, normalised curve exp(-i/tau) of each: (taus, n)."""
    taus = np.geomspace(0.7, 4.0 * count, _CURVES)
    curves = np.exp(-np.arange(count) / taus[:, None])
    centred = curves - curves.mean(axis=1, keepdims=True)
    return taus, centred / np.sqrt((centred**2).sum(axis=1, keepdims=True))


def warmup(samples: ArrayLike) -> Warmup:
    """Where the warm-up of one series of times ends, and what kind of series it is.

    The end is the first sample whose expected excess is below half the noise, by an exponential fitted to the
    logarithms. samples: (n,), positive; fewer than 10 are called flat, because nothing can be said.
    """
    logs = np.log(_series(samples))
    count = len(logs)
    if count < _LEAST_TO_JUDGE or np.ptp(logs) < 1e-12:
        return Warmup(0, "flat")
    end, rest, rises = _settled(logs)
    rho = float(_neighbours(rest, np.sort(rest)))
    if end:
        follows = end < count or rho < _FOLLOWS or np.var(rest) < _CLOSELY * np.var(logs)
        return Warmup(end, "unsteady" if not follows else "slowing" if rises else "warming")
    if rho - 2 * sqrt((1 - rho**2) / count) > _WANDERING:
        return Warmup(0, "unsteady")
    return Warmup(0, "bimodal" if two_modes(rest) else "flat")


def _settled(logs: Array) -> tuple[int, Array, bool]:
    """Where the best exponential ends (0: there is none), what it leaves of the values, and whether they rise."""
    count = len(logs)
    block = -(-count // _BLOCKS)
    short = logs[: count // block * block].reshape(-1, block).mean(axis=1)
    taus, curves = _settling(len(short))
    heights = curves @ (short - short.mean())
    best = int(np.argmax(heights**2))
    shape = np.exp(-np.arange(count) / (block * taus[best]))
    shape -= shape.mean()
    excess = float(logs @ shape / (shape @ shape))
    rest = logs - logs.mean() - excess * shape
    noise = max(sqrt(float(rest @ rest) / max(count - 3, 1)), 1e-15)
    rho = float(_neighbours(rest, np.sort(rest)))
    gain = excess**2 * float(shape @ shape) / noise**2 * (1 - rho) / (1 + rho)
    # The height of the curve over the series, not at a far asymptote.
    height = abs(excess) * float(np.ptp(shape))
    if gain < _TREND_GAIN or height < noise:
        return 0, logs - logs.mean(), False
    end = min(count, max(1, ceil(block * taus[best] * log(2 * abs(excess) / noise))))
    return end, rest, excess < 0


def two_modes(values: ArrayLike) -> bool:
    """Do values fall into two groups, each at least 5 % (and 5) of them, far apart? values: (n,)."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = len(ordered)
    least = max(5, count // 20)
    if count < 8 * least:
        return False
    split = np.arange(least, count - least + 1)
    sums, squares = np.cumsum(ordered), np.cumsum(ordered**2)
    left, right = sums[split - 1] / split, (sums[-1] - sums[split - 1]) / (count - split)
    below = squares[split - 1] - split * left**2
    above = squares[-1] - squares[split - 1] - (count - split) * right**2
    at = int(np.argmin(below + above))
    wider = sqrt(max(below[at] / split[at], above[at] / (count - split[at]), 0.0))
    return bool(right[at] - left[at] > _APART * wider)
