"""How many times faster one point is than another, with the interval of the ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchbench.reports import rows


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of speeds (above 1: the first is faster); low and high are None where a point has no interval."""

    value: float
    low: float | None = None
    high: float | None = None


def speed_ratio(first: Mapping[Any, Any], second: Mapping[Any, Any]) -> Ratio | None:
    """The speed of the first row over that of the second, from their medians and the intervals between their rounds.

    Rows need median_s, low_s, high_s and batch; None where either has no time. Speeds are images a second, so that rows
    of different batches compare. The interval joins the two intervals of log times by the method of variance estimates
    recovery (Zou and Donner, Statistics in Medicine 27, 2008), which needs no more than both limits and keeps their
    level.
    """
    a, b = _log_time(first), _log_time(second)
    if a is None or b is None:
        return None
    value = math.exp(b[0] - a[0])
    if None in a or None in b:
        return Ratio(value)
    (mid_a, low_a, high_a), (mid_b, low_b, high_b) = a, b
    below = math.hypot(mid_b - low_b, high_a - mid_a)
    above = math.hypot(high_b - mid_b, mid_a - low_a)
    return Ratio(value, value * math.exp(-below), value * math.exp(above))


def _log_time(row: Mapping[Any, Any]) -> tuple[Any, Any, Any] | None:
    """Log seconds an image: the median and its limits, None for a limit that is missing."""
    median = rows.value(row.get("median_s"))
    if median is None or median <= 0:
        return None
    batch = rows.value(row.get("batch")) or 1
    limits = [rows.value(row.get(name)) for name in ("low_s", "high_s")]
    logs = [None if limit is None or limit <= 0 else math.log(limit / batch) for limit in limits]
    return math.log(median / batch), logs[0], logs[1]
