"""Does the closing sentence compare like with like and carry the interval of the ratio?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy
import pandas
import pytest

from benchbench.reports.ratios import speed_ratio
from benchbench.reports.sentence import closing_sentence

Row = Callable[..., dict[str, Any]]
Frame = Callable[..., pandas.DataFrame]


def test_the_papers_pair_is_compared_in_training_first(networks: pandas.DataFrame) -> None:
    assert closing_sentence(networks) == (
        "inception_next_tiny is 1.39x (1.38-1.40) convnext_tiny in training at tf32, nhwc, batch 128"
    )


def test_the_form_that_the_paper_timed_goes_first_and_is_named(network: Row, frame: Frame) -> None:
    run = frame(
        [
            network("inception_next_tiny", 11, "1/8", 150.0),
            network("convnext_tiny", 7, "1", 140.0),
            network("convnext_tiny.fb", None, None, 100.0),
        ]
    )
    assert closing_sentence(run).startswith("inception_next_tiny is 1.50x (1.49-1.51) convnext_tiny.fb in training")


def test_both_layouts_are_named_where_the_winners_differ(network: Row, frame: Frame) -> None:
    run = frame(
        [
            network("inception_next_tiny", 11, "1/8", 120.0, layout="nchw"),
            network("inception_next_tiny", 11, "1/8", 110.0, layout="nhwc"),
            network("convnext_tiny", 7, "1", 100.0, layout="nhwc"),
        ]
    )
    assert closing_sentence(run).startswith("inception_next_tiny is 1.20x (1.19-1.21) convnext_tiny")
    assert "nchw/nhwc" in closing_sentence(run)


def test_points_at_different_settings_are_not_compared(network: Row, frame: Frame) -> None:
    run = frame(
        [
            network("inception_next_tiny", 11, "1/8", 120.0, precision="tf32"),
            network("convnext_tiny", 7, "1", 100.0, precision="fp32"),
        ]
    )
    assert closing_sentence(run) == ""


def test_failed_points_are_not_compared(network: Row, frame: Frame) -> None:
    run = frame(
        [
            network("inception_next_tiny", 11, "1/8", 120.0),
            network("convnext_tiny", 7, "1", 100.0, status="oom"),
            network("resnet50", None, None, 240.0),
        ]
    )
    assert closing_sentence(run).startswith("resnet50 is 2.00x (1.99-2.01) inception_next_tiny")


def test_one_round_has_a_ratio_without_an_interval_and_says_why(network: Row, frame: Frame) -> None:
    rows = [network("inception_next_tiny", 11, "1/8", 120.0), network("convnext_tiny", 7, "1", 100.0)]
    for row in rows:
        row.update(low_s=None, high_s=None)
    assert "1.20x (no interval: one round) convnext_tiny" in closing_sentence(frame(rows))


def test_operators_compare_our_kernels_with_stock_ones(operators: pandas.DataFrame) -> None:
    sentence = closing_sentence(operators)
    assert sentence.startswith("inception_dwconv")
    assert "triton is 1.67x" in sentence
    assert "96x56x56" in sentence


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_to_compare_says_nothing(rows: int, networks: pandas.DataFrame) -> None:
    assert closing_sentence(networks.iloc[:rows]) == ""
    assert closing_sentence(pandas.DataFrame()) == ""


def test_a_ratio_compares_images_a_second_across_batches() -> None:
    ratio = speed_ratio({"median_s": 0.1, "batch": 64}, {"median_s": 0.1, "batch": 32})
    assert ratio is not None
    assert ratio.value == pytest.approx(2.0)
    assert ratio.low is None


def test_a_ratio_without_a_time_is_none() -> None:
    assert speed_ratio({"median_s": math.nan, "batch": 1}, {"median_s": 1.0, "batch": 1}) is None


def test_the_interval_of_a_ratio_covers_as_often_as_those_it_joins() -> None:
    random = numpy.random.default_rng(0)
    rounds, student = 8, 2.365  # t of 7 degrees of freedom at 97.5 %
    hits, trials = 0, 2000
    for logs in random.normal(0.0, 0.01, (trials, 2, rounds)):
        rows = []
        for sample, true in zip(logs, (1.0, 1.3), strict=True):
            mid, half = sample.mean(), student * sample.std(ddof=1) / math.sqrt(rounds)
            rows.append(
                {
                    "median_s": true * math.exp(mid),
                    "low_s": true * math.exp(mid - half),
                    "high_s": true * math.exp(mid + half),
                }
            )
        ratio = speed_ratio(*rows)
        assert ratio is not None
        assert ratio.low is not None
        assert ratio.high is not None
        hits += ratio.low <= 1.3 <= ratio.high
    assert 0.93 <= hits / trials <= 0.985
