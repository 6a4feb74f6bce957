"""What is the smallest change that would have been seen, and how many rounds see a given one?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from benchbench.gate.estimate import Array
from benchbench.gate.rule import Rule


@dataclass(frozen=True, slots=True)
class Design:
    """How a point is measured: errors of the screen and of all rounds, each for a spread of 1 in a pair of rounds.

    A design of one stage has no screen: screen_error is 0. offset: a further error that no round removes.
    """

    screen_error: float
    screen_freedom: float
    error: float
    freedom: float
    points: int
    offset: float = 0.0


def paired_design(screen_rounds: int, confirm_rounds: int, points: int) -> Design:
    """Two stages of pairs."""
    rounds = screen_rounds + confirm_rounds
    screen_error = screen_rounds**-0.5 if confirm_rounds else 0.0
    return Design(screen_error, screen_rounds - 1.0, rounds**-0.5, rounds - 1.0, points)


def stored_design(before: int, current: int, confirm: int, *, points: int, offset: float) -> Design:
    """A stored run of ``before`` rounds, ``current`` rounds now, and ``confirm`` more for the suspects."""

    def error(now: int) -> float:
        return float(np.sqrt((1 / before + 1 / now) / 2))

    def freedom(now: int) -> float:
        return (1 / before + 1 / now) ** 2 / (1 / (before**2 * (before - 1)) + 1 / (now**2 * (now - 1)))

    rounds = current + confirm
    screen_error = error(current) if confirm else 0.0
    return Design(screen_error, freedom(current), error(rounds), freedom(rounds), points, offset)


def _seen(distance: Array, scatter: Array, offset: float, freedom: float, alpha: float) -> Array:
    """Probability that Student's t passes its one-sided level, with the usual normal form of the noncentral t.

    scatter: the part of the error that is estimated, with ``freedom``; offset: the part that is taken as known.
    """
    error = np.hypot(scatter, offset)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.minimum(freedom * (error / scatter) ** 4, 1e6)
        bound = special.stdtrit(effective, 1 - alpha)
        found = special.ndtr((distance / error - bound) / np.sqrt(1 + bound**2 / (2 * effective)))
    certain = np.where(distance > 0, 1.0, 0.0)
    return np.asarray(np.where(error > 0, found, certain), dtype=np.float64)


def chance(change: Array, spread: Array, design: Design, rule: Rule) -> Array:
    """Probability of "slower" for a true change (a log ratio), at a spread of the log ratio of one pair of rounds."""
    distance = change - rule.log_margin
    total = _seen(distance, design.error * spread, design.offset, design.freedom, rule.family_alpha / design.points)
    if not design.screen_error:
        return total
    screen = _seen(distance, design.screen_error * spread, design.offset, design.screen_freedom, rule.screen_alpha)
    return np.asarray(screen * total, dtype=np.float64)


def smallest_change(spread: Array, design: Design, rule: Rule) -> Array:
    """The change (a share: .02 is +2 %) that is called slower with the rule's power. Arrays of any shape.

    spread: standard deviation of the log ratio of one pair of rounds.
    """
    spreads = np.asarray(spread, dtype=np.float64)
    known = spreads[np.isfinite(spreads)]
    if known.size == 0:
        return np.full(spreads.shape, np.nan)
    # Solved on a grid: the change is nearly a straight line of the spread.
    grid = np.linspace(known.min(), known.max(), 64 if np.ptp(known) > 0 else 1)
    low, high = np.full(grid.shape, rule.log_margin), rule.log_margin + 100 * np.hypot(grid, design.offset)
    for _ in range(50):
        middle = (low + high) / 2
        enough = chance(middle, grid, design, rule) >= rule.power
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    found = np.expm1(np.interp(spreads, grid, high))
    return np.asarray(np.where(np.isfinite(spreads), found, np.nan), dtype=np.float64)


def rounds_for(change: float, spread: float, rule: Rule, *, points: int = 1, most: int = 1000) -> int | None:
    """Pairs of rounds (a third of them the screen) that see a change with the rule's power; None for more than most.

    spread: standard deviation of log round medians of one arm.
    """
    if change <= rule.margin:
        return None
    both = np.asarray(np.sqrt(2) * spread)
    low, high = 3, most
    if smallest_change(both, paired_design(most // 3, most - most // 3, points), rule) > change:
        return None
    while low < high:
        middle = (low + high) // 2
        screen = max(2, middle // 3)
        fits = smallest_change(both, paired_design(screen, middle - screen, points), rule) <= change
        low, high = (low, middle) if fits else (middle + 1, high)
    return low


def best_power(
    change: float, spread: float, *, before: int, current: int, offset: float, points: int, rule: Rule
) -> float:
    """An upper limit of the power of any rule that judges each point of a stored comparison by its own rounds.

    change, rule.margin: shares. spread, offset: standard deviations of a round and of a point between two sittings.
    before, current: rounds of the baseline, and all rounds now. The rule may call "slower" in rule.family_alpha of the
    runs whose every point lies at the margin, hence each of ``points`` in 1 - (1 - alpha)^(1 / points). Where noise is
    normal and its size known, the most powerful test of the margin against the change is the one-sided z-test (Neyman
    and Pearson, Phil. Trans. R. Soc. A 231, 1933); not knowing the size, and noise that is not normal, cost power.
    """
    error = np.hypot(spread * np.sqrt(1 / before + 1 / current), offset)
    alpha = -np.expm1(np.log1p(-rule.family_alpha) / points)
    return float(special.ndtr((np.log1p(change) - rule.log_margin) / error + special.ndtri(alpha)))
