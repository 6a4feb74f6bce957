"""Are effects, errors and p-values those of the textbook, also where rounds are missing?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchbench.gate.estimate import (
    Estimate,
    between_sittings,
    holm,
    interval,
    mirrored,
    p_beyond,
    paired,
    welch,
)

GENERATOR = np.random.default_rng(0)
A = np.exp(0.01 * GENERATOR.standard_normal((3, 4, 8)))
B = np.exp(0.01 * GENERATOR.standard_normal((3, 4, 8)) + 0.02)


def test_a_paired_effect_is_the_t_test_on_log_ratios() -> None:
    found = paired(A, B)
    expected = stats.ttest_1samp(np.log(B / A), 0.01, axis=-1, alternative="greater")
    assert p_beyond(found, 0.01) == pytest.approx(expected.pvalue)
    assert found.effect == pytest.approx(np.log(B / A).mean(-1))
    assert (found.rounds == 8).all()


def test_two_arms_of_like_scatter_give_the_pooled_t_test_s_error() -> None:
    old, new = np.exp([[-0.01, 0.01, -0.01, 0.01]]), np.exp([[0.02, 0.04, 0.02, 0.04]])
    found = welch(old, new)
    expected = stats.ttest_ind(np.log(new), np.log(old), axis=-1, equal_var=False, alternative="greater")
    assert p_beyond(found, 0.0) == pytest.approx(expected.pvalue)


def test_an_arm_that_scatters_less_by_luck_is_taken_to_scatter_like_both() -> None:
    quiet, loud = np.exp([[0.0, 1e-6, 0.0, 1e-6]]), np.exp([[0.0, 0.02, 0.04, 0.06]])
    plain = stats.ttest_ind(np.log(loud), np.log(quiet), axis=-1, equal_var=False, alternative="greater")
    assert p_beyond(welch(quiet, loud), 0.0)[0] > plain.pvalue[0]


def test_the_offset_between_sittings_widens_the_error_and_no_round_removes_it() -> None:
    many = np.exp(1e-4 * GENERATOR.standard_normal((1, 1000)))
    assert welch(many, many, offset=0.003).error[0] == pytest.approx(0.003, rel=0.01)
    assert welch(many, many).error[0] < 1e-5


def test_missing_rounds_are_left_out_and_one_round_has_no_error() -> None:
    b = B.copy()
    b[0, 0, 3] = np.nan
    b[1, 1, 1:] = np.nan
    found = paired(A, b)
    known = np.delete(np.log(B[0, 0] / A[0, 0]), 3)
    assert found.effect[0, 0] == pytest.approx(known.mean())
    assert found.error[0, 0] == pytest.approx(known.std(ddof=1) / np.sqrt(7))
    assert (found.rounds[0, 0], found.rounds[1, 1]) == (7, 1)
    assert np.isnan(found.error[1, 1])
    assert np.isnan(p_beyond(found, 0.01)[1, 1])


def test_a_point_without_any_round_is_not_known_and_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    nothing = np.full((1, 4), np.nan)
    for found in (paired(nothing, nothing), welch(nothing, nothing, offset=0.003)):
        assert np.isnan(found.effect[0])
        assert np.isnan(p_beyond(found, 0.01)[0])
        assert found.rounds[0] == 0
    assert not recwarn.list


def test_rounds_without_any_scatter_decide_by_their_distance_alone() -> None:
    same = np.ones((2, 5))
    found = paired(same, np.array([[1.5], [1.001]]) * same)
    assert p_beyond(found, 0.01) == pytest.approx([0.0, 1.0], abs=1e-12)


@pytest.mark.parametrize("wrong", [[[0.0, 1.0]], [[-1.0, 1.0]], [[np.inf, 1.0]]], ids=str)
def test_what_is_no_time_is_refused(wrong: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="positive seconds"):
        paired(wrong, [[1.0, 1.0]])


def test_arms_of_unequal_rounds_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="arrays of one shape"):
        paired(A, B[..., :5])


def test_holm_is_the_published_procedure() -> None:
    # Smallest times 4, next times 3, ..., never less than the one before, never above 1.
    assert holm([0.01, 0.04, 0.03, 0.5]).tolist() == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]


def test_a_point_that_is_not_known_is_no_test_for_holm() -> None:
    found = holm([[0.01, np.nan, 0.02], [np.nan, np.nan, np.nan]])
    assert found[0, [0, 2]].tolist() == [0.02, 0.02]
    assert np.isnan(found[0, 1])
    assert np.isnan(found[1]).all()
    assert holm(np.empty((2, 0))).shape == (2, 0)


def test_the_interval_is_student_s_and_normal_where_the_freedom_is_infinite() -> None:
    low, high = interval(paired(A, B), 0.9)
    expected = stats.t.interval(0.9, 7, np.log(B / A).mean(-1), stats.sem(np.log(B / A), axis=-1))
    assert np.stack((low, high)) == pytest.approx(np.stack(expected))
    one = np.ones(1)
    exact = interval(Estimate(0 * one, 0.01 * one, np.inf * one, one, np.ones(1, dtype=np.int64)), 0.9)
    assert exact[1][0] == pytest.approx(0.01 * stats.norm.ppf(0.95))


def test_without_scatter_the_offset_between_sittings_is_a_normal_error() -> None:
    found = welch(np.ones((1, 3)), np.full((1, 3), np.exp(0.006)), offset=0.003)
    assert p_beyond(found, 0.0)[0] == pytest.approx(stats.norm.sf(2.0))


def test_mirrored_exchanges_slower_and_faster() -> None:
    assert mirrored(paired(A, B)).effect == pytest.approx(paired(B, A).effect)


def test_how_much_points_move_between_sittings_is_found_beside_the_scatter_of_rounds() -> None:
    noise = np.random.default_rng(3)
    for offset in (0.0, 0.02):
        moved = offset * noise.standard_normal((400, 50, 1))
        sittings = np.exp(0.01 * noise.standard_normal((400, 50, 8)) + moved)
        # Three standard errors of the variance of normal means, over 50 points of 399 degrees of freedom each.
        allowed = 3 * np.sqrt(2 / (399 * 50)) * (offset**2 + 0.01**2 / 8)
        assert between_sittings(list(sittings)) ** 2 == pytest.approx(offset**2, abs=allowed)


def test_two_sittings_do_not_tell_how_much_points_move() -> None:
    with pytest.raises(ValueError, match="takes three of them, got 2"):
        between_sittings([A[0], B[0]])


def test_a_sitting_that_misses_a_point_tells_of_the_others() -> None:
    torn = np.array(A[0])
    torn[1] = np.nan
    assert between_sittings([torn, torn, torn]) == pytest.approx(0.0, abs=1e-9)
