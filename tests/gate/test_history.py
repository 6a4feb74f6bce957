"""Are change points where they are, and alarms only where they should be?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchbench.gate import history
from benchbench.gate.estimate import Array
from benchbench.gate.history import CREEP, NOTHING, STEP, change_points, confirmed, stretches, suspects


def noisy(levels: Array, spread: float = 0.0035, seed: int = 0) -> Array:
    """Ratios to the baseline with these levels (shares above 1)."""
    noise = spread * np.random.default_rng(seed).standard_normal(levels.shape)
    return np.asarray((1 + levels) * np.exp(noise), dtype=np.float64)


def step(at: int, size: float, count: int) -> Array:
    return np.where(np.arange(count) >= at, size, 0.0)


def cost(values: Array) -> float:
    return float(np.abs(values - np.median(values)).sum())


def cheapest(values: Array, penalty: float) -> tuple[int, ...]:
    """All partitions, one by one."""
    count = len(values)
    every = (c for k in range(count) for c in itertools.combinations(range(1, count), k))
    return min(every, key=lambda cuts: sum(cost(p) for p in np.split(values, cuts)) + penalty * len(cuts))


@pytest.mark.parametrize("seed", range(5))
def test_the_partition_is_the_cheapest_of_all(seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal(10) + np.repeat([0.0, 4.0], 5)
    for penalty in (0.5, 2.0, 20.0):
        assert change_points(values, penalty) == cheapest(values, penalty)


def test_the_partition_is_that_of_ruptures() -> None:
    ruptures = pytest.importorskip("ruptures")
    for seed in range(5):
        values = np.random.default_rng(seed).standard_normal(60) + np.repeat([0.0, 3.0, 1.0], 20)
        expected = ruptures.Pelt(model="l1", min_size=1, jump=1).fit(values).predict(pen=4.0)[:-1]
        assert list(change_points(values, 4.0)) == expected


def test_every_stretch_has_its_median_and_its_cost() -> None:
    values = np.random.default_rng(1).standard_normal((2, 9))
    found = stretches(values)
    for series, start, end in ((0, 0, 9), (1, 2, 5), (0, 3, 4), (1, 1, 9)):
        part = values[series, start:end]
        assert found.medians[series, start, end] == pytest.approx(np.median(part))
        assert found.costs[series, start, end] == pytest.approx(cost(part))


def test_a_step_is_seen_at_its_first_commits_with_its_size_and_place() -> None:
    found = suspects(noisy(step(40, 0.03, 42)))
    assert found.kind == STEP
    assert found.start == 40
    assert float(found.size) == pytest.approx(0.03, abs=0.006)


def test_a_step_below_the_margin_is_of_no_interest() -> None:
    assert suspects(noisy(step(40, 0.008, 60), spread=0.001)).kind == NOTHING


def test_a_step_down_is_no_regression() -> None:
    assert suspects(noisy(step(40, -0.03, 60))).kind == NOTHING


def test_the_way_back_from_an_outlier_is_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    series = noisy(np.zeros(40))
    series[38] *= 0.96
    assert suspects(series).kind == NOTHING
    monkeypatch.setattr(history, "_RECENT", 1)
    assert suspects(series).kind == STEP


def test_no_step_is_called_before_the_twentieth_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert suspects(noisy(step(15, 0.02, 19))).kind == NOTHING
    assert suspects(noisy(step(15, 0.02, 20))).kind == STEP
    monkeypatch.setattr(history, "FIRST_LOOK", 1)
    assert suspects(noisy(step(15, 0.02, 19))).kind == STEP


def test_many_small_steps_are_seen_against_the_pinned_baseline() -> None:
    creep = 0.005 * np.clip(np.arange(60) - 39, 0, None)
    # After seven commits of half a percent.
    assert suspects(noisy(creep[:47])).kind in (STEP, CREEP)
    assert suspects(noisy(0.03 * np.ones(10))).kind == CREEP
    assert suspects(noisy(0.02 * np.ones(10))).kind == NOTHING


def test_an_alarm_needs_a_fresh_measurement_that_shows_it_again() -> None:
    found = suspects(noisy(step(40, 0.03, 41)))
    assert bool(confirmed(found, 1.03))
    assert not bool(confirmed(found, 1.0))
    assert not bool(confirmed(found, np.nan))


def test_what_is_not_suspected_is_not_confirmed() -> None:
    assert not bool(confirmed(suspects(noisy(np.zeros(40))), 2.0))


def test_many_series_are_looked_at_at_once() -> None:
    series = np.stack([noisy(np.zeros(40)), noisy(step(37, 0.03, 40))]).reshape(2, 1, 40)
    assert suspects(series).kind.tolist() == [[NOTHING], [STEP]]


def test_growing_series_share_what_is_known_of_their_stretches() -> None:
    logs = np.log(noisy(step(30, 0.03, 50)))[None]
    known = stretches(logs)
    for count in (5, 25, 32, 50):
        shared = history.suspects_from(logs[:, :count], known.until(count), 0.01)
        assert shared.kind[0] == suspects(np.exp(logs[0, :count])).kind


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_short_series_is_suspected_of_nothing(count: int) -> None:
    assert suspects(np.full(count, 1.5)).kind == NOTHING


@pytest.mark.parametrize("wrong", [[], [1.0, -1.0], [1.0, np.nan]], ids=str)
def test_what_is_no_ratio_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="expected ratios"), np.errstate(invalid="ignore"):
        suspects(wrong)
