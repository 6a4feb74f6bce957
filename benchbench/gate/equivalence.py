"""What is proven to be the same, and how many rounds would prove it? "Same" is shown, never assumed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchbench.gate.estimate import Array, Estimate, interval
from benchbench.gate.rule import Rule

MOST_ROUNDS = 1000


def is_same(estimate: Estimate, rule: Rule) -> NDArray[np.bool_]:
    """Whether the interval of the ratio lies inside 1 +- same_within (two one-sided tests, Schuirmann 1987)."""
    low, high = interval(estimate, rule.level)
    with np.errstate(invalid="ignore"):
        return np.asarray((low > np.log1p(-rule.same_within)) & (high < np.log1p(rule.same_within)), dtype=np.bool_)


def rounds_to_decide(estimate: Estimate, rule: Rule) -> Array:
    """Rounds an arm after which the interval would lie inside same_within or beyond the margin, if the effect stays.

    inf where more than 1000 would be needed: the effect is on the border; NaN where the spread is unknown.
    """
    rounds = np.arange(2, MOST_ROUNDS + 1)
    quantile = special.stdtrit(rounds - 1.0, 0.5 + rule.level / 2) / np.sqrt(rounds)
    size = np.abs(estimate.effect)
    room = np.maximum(np.log1p(rule.same_within) - size, size - rule.log_margin)
    with np.errstate(invalid="ignore", divide="ignore"):
        allowed = np.where(estimate.spread > 0, room / estimate.spread, np.inf)
    # The quantiles fall with the rounds: the first one at or below what is allowed.
    index = np.searchsorted(-quantile, -np.where(np.isfinite(allowed), allowed, 0.0))
    found = np.where(index < len(rounds), rounds[np.minimum(index, len(rounds) - 1)], np.inf)
    found = np.where(np.isposinf(allowed), 2.0, found)
    return np.asarray(np.where(np.isnan(room) | np.isnan(estimate.spread), np.nan, found), dtype=np.float64)
