"""Did stored results change, and is the code now slower than its baseline? Welch on the logarithms of round medians.

What lies between two sittings (another day, another temperature, another place in memory) moves a point although its
code is the same; no number of rounds in one of them shows it. The rule carries it as ``sitting_offset``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.gate import estimate, verdict
from benchbench.gate.estimate import Array
from benchbench.gate.power import stored_design
from benchbench.gate.rule import Rule
from benchbench.gate.verdict import Verdicts

# Between two sittings less can be proven: "same" is within two and a half percent, and fresh rounds against the same
# baseline are no independent proof, so that all rounds together carry the weight.
STORED = Rule(same_within=0.025, confirm_alpha=0.02)
CONFIRM_ROUNDS = 16


def as_times(values: ArrayLike, better: str) -> NDArray[np.float64]:
    """Metrics as costs: those of which less is better as they are, of which more is better as their inverse.

    better: "lower" or "higher". Raises ValueError for a metric without direction.
    """
    if better not in ("lower", "higher"):
        raise ValueError(f"a metric needs a direction, lower or higher, to be compared: got {better!r}")
    found = np.asarray(values, dtype=np.float64)
    return found if better == "lower" else np.divide(1.0, found)


def compare(
    before: ArrayLike,
    current: ArrayLike,
    *,
    controls_before: ArrayLike | None = None,
    controls_current: ArrayLike | None = None,
    rule: Rule | None = None,
) -> Verdicts:
    """Verdicts on two stored runs. before, current: (..., points, rounds) median seconds, NaN for missing rounds.

    The two may differ in their number of rounds. One round alone has no spread: such points are undecided.
    """
    rule = rule or STORED
    total = estimate.welch(before, current, offset=rule.sitting_offset)
    design = stored_design(_rounds(before), _rounds(current), 0, points=_points(before), offset=rule.sitting_offset)
    moved, shift = _controls(controls_before, controls_current, rule)
    return verdict.decide(total, design, rule, moved=moved, shift=shift)


def to_measure_again(baseline: ArrayLike, current: ArrayLike, rule: Rule | None = None) -> NDArray[np.bool_]:
    """The points that must be measured again before anybody is alarmed, or that are undecided so far."""
    rule = rule or STORED
    return verdict.flagged(estimate.welch(baseline, current, offset=rule.sitting_offset), rule)


def check(
    baseline: ArrayLike,
    current: ArrayLike,
    again: ArrayLike | None = None,
    *,
    controls_baseline: ArrayLike | None = None,
    controls_current: ArrayLike | None = None,
    rule: Rule | None = None,
    confirm_rounds: int = CONFIRM_ROUNDS,
) -> Verdicts:
    """Verdicts against a stored baseline: (..., points, rounds) median seconds, NaN for missing rounds.

    again: the suspects' fresh rounds, NaN at the others; without them nothing is called slower or faster.
    """
    rule = rule or STORED
    screen = estimate.welch(baseline, current, offset=rule.sitting_offset)
    if again is None:
        again = np.full(np.asarray(current).shape, np.nan)
    else:
        confirm_rounds = np.asarray(again).shape[-1]
    fresh = estimate.welch(baseline, again, offset=rule.sitting_offset)
    both = np.concatenate((current, again), axis=-1)
    total = estimate.welch(baseline, both, offset=rule.sitting_offset)
    design = stored_design(
        _rounds(baseline), _rounds(current), confirm_rounds, points=_points(current), offset=rule.sitting_offset
    )
    moved, shift = _controls(controls_baseline, controls_current, rule)
    return verdict.decide(total, design, rule, screen=screen, fresh=fresh, moved=moved, shift=shift)


def _rounds(values: ArrayLike) -> int:
    """Of which two are the fewest that have a spread."""
    return max(int(np.asarray(values).shape[-1]), 2)


def _points(values: ArrayLike) -> int:
    return max(int(np.asarray(values).shape[-2]), 1)


def _controls(
    before: ArrayLike | None, current: ArrayLike | None, rule: Rule
) -> tuple[NDArray[np.bool_] | None, Array | float]:
    """Whether the controls make the run invalid, and by how much they moved on average."""
    if before is None or current is None:
        return None, 0.0
    found = estimate.welch(before, current, offset=rule.sitting_offset)
    known = np.isfinite(found.effect) & np.isfinite(found.error)
    shift = np.where(known, found.effect, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    return verdict.controls_moved(found, rule), np.asarray(shift, dtype=np.float64)
