"""Is B slower than A, measured in turn? Two stages of pairs of rounds: a screen, then the suspects on fresh rounds.

The rounds of each arm are fresh processes in the order A B, B A, A B, B A: a drift that is steady over a pair of pairs
cancels. One after the other, all of A and then all of B, a drift of 3 % is an alarm in nearly every run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.gate import estimate, verdict
from benchbench.gate.power import paired_design
from benchbench.gate.rule import Rule
from benchbench.gate.verdict import Verdicts

SCREEN_ROUNDS, CONFIRM_ROUNDS = 8, 16


def order(rounds: int) -> tuple[str, ...]:
    """Which arm comes first, round by round: "AB", "BA", "AB", ..."""
    return tuple("BA" if i % 2 else "AB" for i in range(rounds))


def to_measure_again(a: ArrayLike, b: ArrayLike, rule: Rule | None = None) -> NDArray[np.bool_]:
    """The points of the first stage that need the second.

    a, b: (..., points, rounds) median seconds of the rounds, a[..., i] and b[..., i] neighbours in time, NaN where a
    round is missing. Returns (..., points).
    """
    return verdict.flagged(estimate.paired(a, b), rule or Rule())


def decide(
    a: ArrayLike,
    b: ArrayLike,
    again_a: ArrayLike | None = None,
    again_b: ArrayLike | None = None,
    *,
    controls_a: ArrayLike | None = None,
    controls_b: ArrayLike | None = None,
    rule: Rule | None = None,
    confirm_rounds: int = CONFIRM_ROUNDS,
) -> Verdicts:
    """Verdicts on B against A, for every point.

    a, b: as above. again_a, again_b: (..., points, rounds) of the second stage, NaN at the points that were not
    measured again; without them nothing is called slower or faster, for nothing is confirmed. controls_a, controls_b:
    (..., controls, rounds) of both stages. confirm_rounds: the second stage's plan, for the smallest change.
    """
    rule = rule or Rule()
    screen = estimate.paired(a, b)
    rounds = np.asarray(a).shape[-1]
    if again_a is None or again_b is None:
        again_a = again_b = np.full(np.asarray(a).shape, np.nan)
    else:
        confirm_rounds = np.asarray(again_a).shape[-1]
    fresh = estimate.paired(again_a, again_b)
    total = estimate.paired(*(np.concatenate(arms, axis=-1) for arms in ((a, again_a), (b, again_b))))
    moved = None
    if controls_a is not None and controls_b is not None:
        moved = verdict.controls_moved(estimate.paired(controls_a, controls_b), rule)
    design = paired_design(max(rounds, 2), confirm_rounds, max(np.asarray(a).shape[-2], 1))
    return verdict.decide(total, design, rule, screen=screen, fresh=fresh, moved=moved)
