"""From estimates to words: slower, faster, same, undecided or invalid, with what each rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchbench.gate.equivalence import is_same, rounds_to_decide
from benchbench.gate.estimate import Array, Estimate, holm, interval, mirrored, p_beyond
from benchbench.gate.power import Design, smallest_change
from benchbench.gate.rule import FASTER, INVALID, SAME, SLOWER, UNDECIDED, Rule


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One for each point, arrays of one shape (..., points).

    verdict:  one of VERDICTS. ratio, low, high: time now over time before, with its interval.
    p:        the larger of the adjusted p-values that slower (or faster, where the ratio is below 1) rests on.
    smallest_change: the least change that would have been called slower, with the rule's power (.02 is 2 %).
    rounds:   that the ratio rests on. rounds_needed: rounds an arm to decide an undecided point, inf for a border case.
    valid:    (...), False where the controls moved.
    """

    verdict: NDArray[np.str_]
    ratio: Array
    low: Array
    high: Array
    p: Array
    smallest_change: Array
    rounds: NDArray[np.int64]
    rounds_needed: Array
    valid: NDArray[np.bool_]


def flagged(screen: Estimate, rule: Rule) -> NDArray[np.bool_]:
    """The points of the first stage that fresh rounds must settle: suspects of either direction, and the undecided."""
    with np.errstate(invalid="ignore"):
        suspect = np.minimum(p_beyond(screen, rule.log_margin), p_beyond(mirrored(screen), rule.log_margin))
        return np.asarray((suspect <= rule.screen_alpha) | ~is_same(screen, rule), dtype=np.bool_)


def controls_moved(controls: Estimate, rule: Rule) -> NDArray[np.bool_]:
    """Whether any control (the last axis) moved by more than the margin beyond its interval.

    The intervals are so wide that all of them together are wrong in ``invalid_alpha`` of runs, however loud the machine
    and however many the controls.
    """
    low, high = interval(controls, 1 - rule.invalid_alpha / max(controls.effect.shape[-1], 1))
    bound = np.log1p(rule.control_margin)
    with np.errstate(invalid="ignore"):
        return np.asarray(((low > bound) | (high < -bound)).any(axis=-1), dtype=np.bool_)


def _p_changed(
    total: Estimate, bound: Array | float, screen: Estimate | None, fresh: Estimate | None, rule: Rule
) -> tuple[Array, Array]:
    """p-values of "slower" on all rounds and on the fresh ones alone, each adjusted for its family of points."""
    family = holm(p_beyond(total, bound))
    if screen is None or fresh is None:
        return family, family
    with np.errstate(invalid="ignore"):
        suspect = p_beyond(screen, rule.log_margin) <= rule.screen_alpha
    again = holm(np.where(suspect, p_beyond(fresh, bound), np.nan))
    return np.where(suspect, family, 1.0), np.where(np.isnan(again), 1.0, again)


def decide(
    total: Estimate,
    design: Design,
    rule: Rule,
    *,
    screen: Estimate | None = None,
    fresh: Estimate | None = None,
    moved: NDArray[np.bool_] | None = None,
    shift: Array | float = 0.0,
) -> Verdicts:
    """Verdicts from the estimate of all rounds and, in two stages, those of the screen and of the fresh rounds alone.

    A change must pass twice: on fresh rounds that the screen did not choose, and on all rounds among all points.
    moved: (...), whether the controls make the run invalid. shift: (...), by how much (a log ratio) the controls moved:
    only what goes beyond it can be the code's.
    """
    shift = np.asarray(shift, dtype=np.float64)[..., None]
    bounds = (rule.log_margin + np.maximum(sign * shift, 0.0) for sign in (1, -1))
    stages = (screen, fresh), (screen and mirrored(screen), fresh and mirrored(fresh))
    sides = total, mirrored(total)
    up, down = (_p_changed(t, bound, *s, rule) for t, bound, s in zip(sides, bounds, stages, strict=True))
    levels = (rule.family_alpha, rule.confirm_alpha if fresh is not None else rule.family_alpha)
    valid = np.ones(total.effect.shape[:-1], dtype=np.bool_) if moved is None else ~moved
    with np.errstate(invalid="ignore"):
        slower, faster = ((side[0] <= levels[0]) & (side[1] <= levels[1]) for side in (up, down))
    verdict = np.where(is_same(total, rule), SAME, UNDECIDED)
    verdict = np.where(slower, SLOWER, np.where(faster, FASTER, verdict))
    low, high = interval(total, rule.level)
    return Verdicts(
        verdict=np.where(valid[..., None], verdict, INVALID),
        ratio=np.exp(total.effect),
        low=np.exp(low),
        high=np.exp(high),
        p=np.where(total.effect >= 0, np.maximum(*up), np.maximum(*down)),
        smallest_change=smallest_change(total.spread, design, rule),
        rounds=total.rounds,
        rounds_needed=rounds_to_decide(total, rule),
        valid=valid,
    )
