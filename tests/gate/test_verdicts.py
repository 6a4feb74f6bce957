"""Are the five verdicts given when they should be, one by one, on data made for each?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchbench.gate import compare, paired
from benchbench.gate.equivalence import rounds_to_decide
from benchbench.gate.estimate import Array
from benchbench.gate.estimate import paired as paired_estimate
from benchbench.gate.power import best_power, paired_design, rounds_for, smallest_change
from benchbench.gate.rule import VERDICTS, Rule
from benchbench.gate.simulate import Machine, power_row
from benchbench.gate.verdict import controls_moved

# Median seconds of rounds whose log ratios have mean 0 and standard deviation .5 % exactly.
PATTERN = 0.005 * np.array([1.0, -1.0] * 4) * np.sqrt(7 / 8)


def rounds(change: float = 0.0, count: int = 8, scale: float = 1.0) -> Array:
    """Rounds of one point that changed by this share."""
    return np.asarray(1e-3 * (1 + change) * np.exp(scale * np.resize(PATTERN, count)), dtype=np.float64)


def ab(*changes: float, again: bool = True, **options: Any) -> Any:
    """The verdicts on points with these true changes, 8 + 16 rounds."""
    a = np.array([rounds(scale=0.0) for _ in changes])
    b = np.array([rounds(change) for change in changes])
    a2 = np.array([rounds(count=16, scale=0.0) for _ in changes])
    b2 = np.array([rounds(change, 16) for change in changes])
    return paired.decide(a, b, *((a2, b2) if again else ()), **options)


def test_a_change_beyond_the_margin_is_slower_or_faster_and_none_is_same() -> None:
    found = ab(0.05, -0.05, 0.0)
    assert found.verdict.tolist() == ["slower", "faster", "same"]
    assert found.ratio == pytest.approx([1.05, 0.95, 1.0], rel=1e-6)
    assert (found.low < found.ratio).all()
    assert (found.ratio < found.high).all()


def test_every_verdict_is_one_of_the_five() -> None:
    assert set(ab(0.05, -0.05, 0.0, 0.0205).verdict) <= set(VERDICTS)


def test_a_change_exactly_at_the_margin_is_not_slower() -> None:
    assert ab(0.01).verdict[0] == "same"


def test_nothing_is_called_slower_before_fresh_rounds_confirm_it() -> None:
    assert ab(0.05, again=False).verdict[0] == "undecided"


def test_a_suspect_that_the_fresh_rounds_do_not_show_is_not_called_slower() -> None:
    a, b = rounds(scale=0.0)[None], rounds(0.05)[None]
    again = rounds(count=16, scale=0.0)[None], rounds(0.0, 16)[None]
    assert paired.to_measure_again(a, b)[0]
    assert paired.decide(a, b, *again).verdict[0] != "slower"


def test_without_the_fresh_rounds_own_level_it_would_be() -> None:
    a, b = rounds(scale=0.0)[None], rounds(0.09)[None]
    again = rounds(count=16, scale=0.0)[None], rounds(0.009, 16)[None]
    lax = Rule(confirm_alpha=0.999999, family_alpha=0.1)
    assert paired.decide(a, b, *again, rule=Rule(family_alpha=0.1)).verdict[0] == "undecided"
    assert paired.decide(a, b, *again, rule=lax).verdict[0] == "slower"


def test_only_suspects_and_the_undecided_are_measured_again() -> None:
    a = np.array([rounds(scale=0.0)] * 4)
    b = np.array([rounds(0.0), rounds(0.05), rounds(-0.05), rounds(0.0, scale=6.0)])
    assert paired.to_measure_again(a, b).tolist() == [False, True, True, True]


def test_points_that_were_not_measured_again_keep_their_verdict_of_the_screen() -> None:
    a, b = np.array([rounds(scale=0.0)] * 2), np.array([rounds(0.0), rounds(0.05)])
    a2, b2 = (np.array([np.full(16, np.nan), rounds(change, 16)]) for change in (0.0, 0.05))
    found = paired.decide(a, b, a2, b2)
    assert found.verdict.tolist() == ["same", "slower"]
    assert found.rounds.tolist() == [8, 24]


def test_scattered_rounds_are_undecided_and_say_how_many_would_decide() -> None:
    found = ab(0.0)
    loud = paired.decide(rounds(scale=0.0)[None], rounds(scale=6.0)[None])
    assert loud.verdict[0] == "undecided"
    assert loud.rounds_needed[0] > 8 > found.rounds_needed[0]


def test_the_rounds_needed_are_those_after_which_the_verdict_is_same() -> None:
    loud = paired_estimate(rounds(scale=0.0)[None], rounds(scale=6.0)[None])
    needed = int(rounds_to_decide(loud, Rule())[0])
    spread = float(loud.spread[0])

    def verdict(count: int) -> str:
        noise = np.resize([1.0, -1.0], count)
        times = np.exp(spread * noise / noise.std(ddof=1))[None]
        return str(paired.decide(np.ones((1, count)), times - 0 * times.mean(), rule=Rule()).verdict[0])

    even = needed + needed % 2
    assert verdict(even) == "same"
    assert verdict(even - 2) == "undecided"


def test_an_effect_on_the_border_needs_more_rounds_than_anybody_has() -> None:
    border = np.exp(np.log1p(0.02) + 0.05 * np.array([1.0, -1.0] * 4))[None]
    between = Rule(margin=0.02, same_within=0.02)
    assert np.isinf(rounds_to_decide(paired_estimate(np.ones((1, 8)), border), between)[0])


def test_one_round_or_none_is_undecided_and_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    for count, value in ((1, 1.0), (3, np.nan)):
        found = paired.decide(np.full((2, count), value), np.full((2, count), value))
        assert found.verdict.tolist() == ["undecided"] * 2
        assert np.isnan(found.low).all()
    for control in (1.0, np.nan):
        found = compare.compare([[1.0]], [[2.0]], controls_before=[[1.0]], controls_current=[[control]])
        assert found.verdict.tolist() == ["undecided"]
    assert not recwarn.list


def test_controls_that_moved_make_the_whole_run_invalid() -> None:
    still, moved = rounds()[None], rounds(0.03)[None]
    assert ab(0.05, controls_a=still, controls_b=moved).verdict[0] == "invalid"
    assert ab(0.05, controls_a=still, controls_b=rounds(0.005)[None]).verdict[0] == "slower"


def test_a_loud_machine_with_many_controls_is_seldom_called_invalid() -> None:
    generator = np.random.default_rng(0)
    a, b = np.exp(0.1 * generator.standard_normal((2, 3000, 6, 8)))
    moved = controls_moved(paired_estimate(a, b), Rule())
    assert moved.mean() <= 0.01
    assert controls_moved(paired_estimate(a, b), Rule(invalid_alpha=0.3)).mean() > 0.05


def test_a_control_that_got_faster_moved_too() -> None:
    assert ab(0.05, controls_a=rounds()[None], controls_b=rounds(-0.03)[None]).verdict[0] == "invalid"


def test_runs_in_leading_dimensions_are_decided_each_for_itself() -> None:
    a = np.ones((2, 3, 8))
    b = np.array([[rounds(c) for c in (0.05, 0.0, 0.0)], [rounds(c) for c in (0.0, 0.0, 0.0)]]) * 1e3
    again = np.ones((2, 3, 16)), np.resize(b, (2, 3, 16))
    again_b = np.concatenate((b, b), axis=-1)
    found = paired.decide(a, b, again[0], again_b)
    assert found.verdict.tolist() == [["slower", "same", "same"], ["same"] * 3]
    assert found.valid.tolist() == [True, True]


def test_the_order_of_the_arms_alternates_and_cancels_a_steady_drift() -> None:
    assert paired.order(5) == ("AB", "BA", "AB", "BA", "AB")
    slots = np.exp(0.03 * np.arange(16) / 16).reshape(8, 2)
    swapped = np.array([order == "BA" for order in paired.order(8)])
    a, b = np.where(swapped, slots[:, 1], slots[:, 0]), np.where(swapped, slots[:, 0], slots[:, 1])
    assert paired_estimate(a[None], b[None]).effect[0] == pytest.approx(0, abs=1e-12)
    one_after_the_other = slots.ravel()[:8], slots.ravel()[8:]
    assert paired_estimate(*(arm[None] for arm in one_after_the_other)).effect[0] > 0.01


def check(*changes: float, **options: Any) -> Any:
    baseline, current = (np.array([rounds(c) for c in arm]) for arm in ([0.0] * len(changes), changes))
    again = np.array([rounds(c, 16) for c in changes])
    return compare.check(baseline, current, again, **options)


def test_a_stored_baseline_sees_a_large_change_and_is_content_with_none() -> None:
    assert check(0.06, -0.06, 0.0).verdict.tolist() == ["slower", "faster", "same"]


def test_what_two_sittings_may_differ_by_is_no_change() -> None:
    sure = Rule(same_within=0.025, sitting_offset=0.0)
    assert check(0.017, rule=sure).verdict[0] == "slower"
    assert check(0.017).verdict[0] != "slower"


def test_what_the_controls_moved_by_is_not_blamed_on_the_code() -> None:
    controls = np.array([rounds()] * 2)
    nearly = 0.013
    shifted = np.array([rounds(nearly)] * 2)
    assert check(0.027).verdict[0] == "slower"
    found = check(0.027, controls_baseline=controls, controls_current=shifted)
    assert found.valid
    assert found.verdict[0] == "undecided"


def test_two_stored_runs_are_compared_in_one_stage_with_any_number_of_rounds() -> None:
    before = np.array([rounds(count=6), rounds(count=6)])
    current = np.array([rounds(0.06, count=10), rounds(count=10)])
    assert compare.compare(before, current).verdict.tolist() == ["slower", "same"]


def test_a_metric_of_which_more_is_better_is_turned_round() -> None:
    before, current = 1 / rounds()[None], 1 / rounds(0.06)[None]
    as_times = [compare.as_times(values, "higher") for values in (before, current)]
    assert compare.compare(*as_times).verdict[0] == "slower"
    assert compare.compare(*(compare.as_times(v, "lower") for v in (before, current))).verdict[0] == "faster"


def test_a_metric_without_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a direction"):
        compare.as_times([1.0], "")


@pytest.mark.parametrize(
    "wrong",
    [
        {"margin": -0.01},
        {"margin": 0.03},
        {"sitting_offset": -1.0},
        {"screen_alpha": 0.0},
        {"level": 1.0},
        {"power": 1.5},
    ],
    ids=str,
)
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Rule(**wrong)


def test_the_smallest_change_is_the_margin_and_a_multiple_of_the_spread() -> None:
    spreads = np.sqrt(2) * np.array([0.0, 0.005, 0.01])
    for (screen, confirm), factor in (((8, 16), 1.7), ((6, 12), 2.0)):
        found = smallest_change(spreads, paired_design(screen, confirm, 100), Rule())
        assert found[0] == pytest.approx(0.01, abs=1e-6)
        assert found[1:] == pytest.approx([0.01 + factor * 0.005, 0.01 + factor * 0.01], rel=0.1)


def test_the_rounds_for_a_change_see_it_and_one_fewer_do_not() -> None:
    needed = rounds_for(0.03, 0.01, Rule(), points=100)
    assert needed is not None
    found = [
        float(smallest_change(np.asarray(np.sqrt(2) * 0.01), paired_design(n // 3, n - n // 3, 100), Rule()))
        for n in (needed, needed - 1)
    ]
    assert found[0] <= 0.03 < found[1]


def test_no_number_of_rounds_sees_a_change_within_the_margin() -> None:
    assert rounds_for(0.01, 0.001, Rule()) is None
    assert rounds_for(0.011, 0.1, Rule()) is None


def test_the_best_power_is_that_of_the_z_test_and_falls_with_all_that_hides_a_change() -> None:
    design: Any = {"before": 8, "current": 24, "offset": 0.0, "points": 1, "rule": Rule(margin=0.01, family_alpha=0.05)}
    # One point, 8 against 24 rounds at 1 %: the error is .408 %; 1.01 against 1.02 is 2.413 of it, less 1.645.
    assert best_power(0.02, 0.01, **design) == pytest.approx(0.7789, abs=1e-4)
    assert best_power(0.01, 0.01, **design) == pytest.approx(0.05)
    for harder in ({"offset": 0.003}, {"points": 100}, {"before": 4}, {"current": 8}):
        assert best_power(0.02, 0.01, **(design | harder)) < best_power(0.02, 0.01, **design)
    assert best_power(0.02, 0.02, **design) < best_power(0.02, 0.01, **design)


@pytest.mark.simulation
def test_the_gate_stays_below_the_best_power() -> None:
    design: Any = {"before": 8, "current": 24, "offset": 0.003, "points": 100, "rule": compare.STORED}
    for effect in (0.03, 0.05):
        row = power_row("check", Machine("normal", 0.01, offset=0.003), effect, 300, compare.STORED, 1)
        assert row.bound == best_power(effect, 0.01, **design)
        assert row.rate <= row.bound + 0.02
