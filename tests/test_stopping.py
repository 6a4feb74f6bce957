"""Does an interval still cover the median where the series stopped because the interval was narrow?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from benchbench.timer import Policy, Stopping


def autoregression(generator: np.random.Generator, count: int, rho: float) -> np.ndarray:
    noise = generator.standard_normal(count)
    found = np.empty(count)
    found[0] = noise[0]
    for i in range(1, count):
        found[i] = rho * found[i - 1] + np.sqrt(1 - rho**2) * noise[i]
    return found


class StopsAtOnce(Stopping):
    """Without the second look: one narrow interval is enough."""

    def look(self, times: Sequence[float], elapsed_s: float) -> bool:
        self._was_narrow = True
        return super().look(times, elapsed_s)


def covered_after_stopping(rho: float, deviation: float, series: int, rule: type[Stopping] = Stopping) -> float:
    """How often the interval holds the true median where the series stopped."""
    generator = np.random.default_rng(11)
    policy, hits = Policy(max_samples=400), 0
    for _ in range(series):
        times = 1 + deviation * autoregression(generator, policy.max_samples, rho)
        stopping, count, stop = rule(policy), 0, False
        while not stop:
            count += stopping.next_look(count)
            stop = stopping.look(times[:count].tolist(), 0.0)
        hits += stopping.interval[0] <= 1 <= stopping.interval[1]
    return hits / series


@pytest.mark.simulation
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
def test_intervals_still_cover_after_stopping_on_their_width(rho: float) -> None:
    for deviation in (0.005, 0.01):
        covered = covered_after_stopping(rho, deviation, 2000)
        print(f"stopped on width, rho {rho}, deviation {deviation:.1%}: 95 % interval covers {covered:.1%}")
        assert covered >= 0.92


@pytest.mark.simulation
def test_stopping_at_the_first_narrow_look_covers_less() -> None:
    once, twice = (covered_after_stopping(0.6, 0.01, 2000, rule) for rule in (StopsAtOnce, Stopping))
    print(f"rho .6, deviation 1 %: stopped at one narrow look covers {once:.1%}, at two {twice:.1%}")
    assert once < twice
