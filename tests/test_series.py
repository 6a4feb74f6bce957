"""Do the intervals cover and are the warm-ups found? Simulated series with known answers; the figures are printed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from benchbench import series
from benchbench.series import (
    effective_sample_size,
    median_interval,
    rounds_interval,
    student_quantile,
    two_modes,
    warmup,
)

Array = NDArray[np.float64]


def autoregression(generator: np.random.Generator, shape: tuple[int, int], rho: float) -> Array:
    """Standard normal AR(1), its last axis the series, in its steady state from the first value on."""
    noise = generator.standard_normal(shape)
    found = np.empty(shape)
    found[:, 0] = noise[:, 0]
    for i in range(1, shape[1]):
        found[:, i] = rho * found[:, i - 1] + np.sqrt(1 - rho**2) * noise[:, i]
    return found


def share_covering(interval: tuple[Array, Array], truth: float) -> float:
    low, high = interval
    return float(((low <= truth) & (truth <= high)).mean())


@pytest.mark.simulation
@pytest.mark.parametrize(("count", "least"), [(30, 0.92), (100, 0.93), (300, 0.93)])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
def test_the_interval_of_a_correlated_median_covers(count: int, least: float, rho: float) -> None:
    times = 1 + 0.01 * autoregression(np.random.default_rng(1), (4000, count), rho)
    covered = share_covering(median_interval(times), 1.0)
    print(f"AR({rho}), n = {count}: nominal 95 % covers {covered:.1%}")
    assert covered >= least


@pytest.mark.simulation
@pytest.mark.parametrize("noise", ["t3", "exponential", "bimodal"])
def test_the_interval_covers_for_other_noises_too(noise: str) -> None:
    generator, shape = np.random.default_rng(2), (4000, 100)
    draws = {
        "t3": generator.standard_t(3, shape),
        "exponential": generator.exponential(1, shape) - np.log(2),
        "bimodal": generator.normal(0, 0.3, shape) + 3 * (generator.random(shape) < 0.2),
    }
    truth = {"t3": 0.0, "exponential": 0.0, "bimodal": 0.3 * 0.31863936396437514}[noise]
    covered = share_covering(median_interval(draws[noise]), truth)
    print(f"{noise}, n = 100: nominal 95 % covers {covered:.1%}")
    assert covered >= 0.93


@pytest.mark.simulation
def test_taking_correlated_samples_for_independent_does_not_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    times = autoregression(np.random.default_rng(3), (4000, 100), 0.6)
    monkeypatch.setattr(series, "_neighbours", lambda values, ordered: np.zeros(values.shape[:-1]))
    covered = share_covering(median_interval(times), 0.0)
    print(f"AR(0.6), n = 100, taken for independent: nominal 95 % covers {covered:.1%}")
    assert covered < 0.85


@pytest.mark.simulation
@pytest.mark.parametrize("rounds", [3, 5, 8])
def test_the_interval_between_rounds_covers_and_that_within_them_does_not(rounds: int) -> None:
    generator, runs, inside = np.random.default_rng(4), 1500, 40
    offsets = 0.01 * generator.standard_normal((runs, rounds, 1))
    times = np.exp(offsets + 0.003 * generator.standard_normal((runs, rounds, inside)))
    found = [rounds_interval(medians) for medians in np.median(times, axis=-1)]
    between = np.mean([low <= 1 <= high for low, high in found if low is not None and high is not None])
    pooled = share_covering(median_interval(generator.permuted(times.reshape(runs, -1), axis=1)), 1.0)
    print(f"{rounds} rounds, spread 1 % between, .3 % within: rounds cover {between:.1%}, all samples {pooled:.1%}")
    assert between >= 0.93
    assert pooled < 0.5


def test_student_s_quantiles_are_scipy_s() -> None:
    from scipy import stats

    for freedom in (1, 2, 3, 4, 7, 22, 400, 401, 5000):
        for probability in (0.025, 0.6, 0.95, 0.975, 0.9995):
            expected = stats.t.ppf(probability, freedom)
            assert student_quantile(probability, freedom) == pytest.approx(expected, rel=1e-6), (freedom, probability)


@pytest.mark.parametrize("wrong", [(0.0, 3), (1.0, 3), (0.9, 0)])
def test_a_quantile_that_does_not_exist_is_refused(wrong: tuple[float, int]) -> None:
    with pytest.raises(ValueError, match="expected 0 < probability"):
        student_quantile(*wrong)


def test_one_sample_is_its_own_interval_and_few_span_their_range() -> None:
    assert median_interval([2.0]) == (2.0, 2.0)
    assert median_interval([3.0, 1.0]) == (1.0, 3.0)
    assert median_interval([5.0, 1.0, 4.0, 2.0, 3.0]) == (1.0, 5.0)


def test_a_constant_series_has_a_point_for_an_interval_and_every_sample_counts() -> None:
    assert median_interval([3.1] * 20) == (3.1, 3.1)
    assert effective_sample_size([3.1] * 20) == 20


def test_intervals_and_sizes_take_leading_dimensions() -> None:
    times = np.random.default_rng(5).normal(1, 0.01, (3, 4, 50))
    low, high = median_interval(times)
    assert low.shape == high.shape == effective_sample_size(times).shape == (3, 4)
    assert (low[1, 2], high[1, 2]) == pytest.approx(median_interval(times[1, 2]))


def test_a_wider_level_gives_a_wider_interval_inside_the_range() -> None:
    times = np.random.default_rng(6).normal(1, 0.01, 60)
    inner, outer = median_interval(times, 0.8), median_interval(times, 0.99)
    assert times.min() <= outer[0] < inner[0] <= np.median(times) <= inner[1] < outer[1] <= times.max()


def test_correlated_samples_count_for_fewer_and_never_for_more_than_there_are() -> None:
    generator = np.random.default_rng(7)
    sizes = [effective_sample_size(autoregression(generator, (500, 200), rho)).mean() for rho in (-0.5, 0.0, 0.3, 0.6)]
    assert 200 >= sizes[0] > sizes[1] > sizes[2] > sizes[3]
    # 200 / (1 + 2 sum of 2/pi asin(.6^k)) = 200 / 2.95
    assert sizes[3] == pytest.approx(200 / 2.95, rel=0.15)


@pytest.mark.parametrize("function", [median_interval, effective_sample_size, warmup])
@pytest.mark.parametrize(
    ("bad", "message"), [([], "no samples"), ([1.0, float("nan")], "not a finite number")], ids=str
)
def test_a_series_that_is_none_is_refused(function: Callable[..., object], bad: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(bad)


def test_one_round_or_none_has_no_interval() -> None:
    assert rounds_interval([0.001]) == (None, None)
    assert rounds_interval([]) == (None, None)


def test_two_rounds_have_the_interval_of_student_s_t() -> None:
    low, high = rounds_interval([np.exp(-0.01), np.exp(0.01)])
    # mean 0, standard deviation .01 sqrt(2), over sqrt(2): t(.975, 1) = 12.706
    assert (np.log(low or 0), np.log(high or 0)) == pytest.approx((-0.12706, 0.12706), rel=1e-3)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_round_that_took_no_time_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not a positive number of seconds"):
        rounds_interval([0.001, bad])


NOISE = 0.005


def normal(generator: np.random.Generator, count: int) -> Array:
    return np.asarray(np.exp(NOISE * generator.standard_normal(count)), dtype=np.float64)


def share_called(kind: str, draw: Callable[[], Array], times: int = 400) -> float:
    return sum(warmup(draw()).kind == kind for _ in range(times)) / times


@pytest.mark.simulation
@pytest.mark.parametrize("count", [20, 30, 60, 200, 1000])
def test_flat_series_are_called_flat(count: int) -> None:
    generator = np.random.default_rng(8)
    flat = share_called("flat", lambda: normal(generator, count))
    print(f"flat, n = {count}: called flat in {flat:.1%}")
    assert flat >= 0.95


@pytest.mark.simulation
@pytest.mark.parametrize(
    "noise",
    [
        lambda g: np.exp(NOISE * g.standard_t(3, 200) / np.sqrt(3)),
        lambda g: np.exp(NOISE * g.exponential(1, 200)),
        lambda g: np.exp(NOISE * autoregression(g, (1, 200), 0.6)[0]),
        lambda g: np.where(g.random(200) < 0.02, 1.5, 1.0) * normal(g, 200),
    ],
    ids=["t3", "exponential", "AR(0.6)", "interrupted"],
)
def test_flat_series_of_other_noises_are_called_flat(noise: Callable[[np.random.Generator], Array]) -> None:
    generator = np.random.default_rng(9)
    flat = share_called("flat", lambda: noise(generator))
    print(f"called flat in {flat:.1%}")
    assert flat >= 0.95


@pytest.mark.simulation
@pytest.mark.parametrize("count", [200, 400])
@pytest.mark.parametrize("tau", [3, 5, 10, 20, 40])
def test_an_exponential_warm_up_of_ten_percent_ends_where_it_does(tau: int, count: int) -> None:
    generator = np.random.default_rng(10)
    curve = 1 + 0.1 * np.exp(-np.arange(count) / tau)
    truth = int(np.argmax(curve - 1 < NOISE / 2))
    found = np.array([warmup(curve * normal(generator, count)).end for _ in range(400)])
    near = float((np.abs(found - truth) <= 0.2 * truth).mean())
    print(f"tau {tau}, n = {count}: the warm-up of {truth} samples is found within 20 % in {near:.1%}")
    assert near >= 0.9


@pytest.mark.simulation
def test_two_modes_are_found_and_one_is_not_taken_for_two() -> None:
    generator = np.random.default_rng(11)
    found = share_called("bimodal", lambda: np.where(generator.random(200) < 0.2, 1.03, 1.0) * normal(generator, 200))
    single = [
        share_called("bimodal", lambda: normal(generator, 200), 1000),
        share_called("bimodal", lambda: np.exp(NOISE * generator.exponential(1, 200)), 1000),
        share_called("bimodal", lambda: np.exp(NOISE * generator.standard_t(3, 200)), 1000),
    ]
    print(f"80/20 modes 3 % apart, n = 200: found in {found:.1%}; one mode taken for two in {max(single):.1%}")
    assert found >= 0.9
    assert max(single) <= 0.02


def test_without_a_distance_between_modes_one_mode_is_taken_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(12).standard_normal(200)
    assert not two_modes(values)
    monkeypatch.setattr(series, "_APART", 2.0)
    assert two_modes(values)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        (1 + 0.05 * np.exp(-np.arange(200) / 20), "warming"),
        (1 - 0.05 * np.exp(-np.arange(200) / 20), "slowing"),
        (1 + 0.0005 * np.arange(200), "slowing"),
        (1 - 0.0005 * np.arange(200), "warming"),
        (np.where(np.arange(200) < 100, 1.0, 1.05), "unsteady"),
        (1 + 0.05 * np.sin(np.arange(200) / 10), "unsteady"),
    ],
    ids=["settles", "heats up", "rises on", "falls on", "steps", "swings"],
)
def test_a_series_is_called_by_what_it_does(shape: Array, kind: str) -> None:
    assert warmup(shape * normal(np.random.default_rng(13), 200)).kind == kind


def test_a_trend_that_does_not_end_has_no_steady_sample() -> None:
    assert warmup(1 + 0.0005 * np.arange(200)).end == 200


def test_a_slow_first_call_is_a_warm_up_of_few_samples() -> None:
    times = normal(np.random.default_rng(14), 100)
    times[0] *= 3
    found = warmup(times)
    assert found.kind == "warming"
    assert 1 <= found.end <= 5


def test_a_warm_up_of_thousands_of_samples_is_found_in_blocks() -> None:
    times = (1 + 0.1 * np.exp(-np.arange(5000) / 500)) * normal(np.random.default_rng(15), 5000)
    assert warmup(times).end == pytest.approx(500 * np.log(40), rel=0.1)


def test_too_few_samples_are_called_flat() -> None:
    assert warmup([1.0, 2.0, 3.0]) == series.Warmup(0, "flat")
