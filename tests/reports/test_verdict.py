"""Are the paper's claims judged by intervals, at like settings, and never by a lucky median?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas
import pytest

from benchbench.reports.ratios import Ratio
from benchbench.reports.verdict import (
    CLAIMS,
    FAILS,
    HOLDS,
    NOT_MEASURED,
    SLOW_CONVNEXT,
    TRAINING,
    UNDECIDED,
    contrast,
    text_rows,
    verdicts,
)

Row = Callable[..., dict[str, Any]]
Frame = Callable[..., pandas.DataFrame]


def of(judged: list[dict[str, Any]], claim: str, **setting: Any) -> dict[str, Any]:
    (found,) = [row for row in judged if row["claim"] == claim and all(row[k] == v for k, v in setting.items())]
    return found


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (Ratio(1.57, 1.56, 1.58), HOLDS),
        (Ratio(1.57, 1.54, 1.60), UNDECIDED),
        (Ratio(1.40, 1.38, 1.42), FAILS),
        (Ratio(1.70), UNDECIDED),
    ],
)
def test_a_claim_is_decided_by_the_whole_interval(ratio: Ratio, verdict: str) -> None:
    assert TRAINING.verdict(ratio) == verdict


def test_a_claim_with_an_upper_limit_is_decided_the_other_way_round() -> None:
    assert SLOW_CONVNEXT.verdict(Ratio(0.6, 0.59, 0.61)) == HOLDS
    assert SLOW_CONVNEXT.verdict(Ratio(0.9, 0.89, 0.91)) == FAILS


def test_the_papers_own_figures_would_hold(network: Row, frame: Frame) -> None:
    from benchbench.published import paper_points

    rows = []
    for point in paper_points():
        if point.img_size == 224 and point.model in ("convnext_tiny", "inception_next_tiny", "resnet50"):
            for mode, speed in (("train", point.train_img_per_s), ("infer", point.infer_img_per_s)):
                rows.append(network(point.model, point.kernel_size, point.ratio, speed, mode=mode))
    judged = verdicts(frame(rows))
    assert {row["claim"]: row["verdict"] for row in judged if row["verdict"] != NOT_MEASURED} == {
        claim.name: HOLDS for claim in CLAIMS if claim.name != "memory"
    }


def test_every_layout_and_the_better_of_both_are_judged(networks: pandas.DataFrame) -> None:
    layouts = {row["layout"] for row in verdicts(networks) if row["claim"] == "training"}
    assert layouts == {"nchw", "nhwc", "best of both"}
    assert verdicts(networks)[0]["layout"] == "best of both"


def test_the_better_of_both_takes_each_sides_better_one(network: Row, frame: Frame) -> None:
    run = frame(
        [
            network("inception_next_tiny", None, None, 1600.0, layout="nchw"),
            network("inception_next_tiny", None, None, 1000.0, layout="nhwc"),
            network("convnext_tiny", 7, "1", 800.0, layout="nchw"),
            network("convnext_tiny", 7, "1", 1000.0, layout="nhwc"),
        ]
    )
    values = {row["layout"]: row["value"] for row in verdicts(run) if row["claim"] == "training"}
    assert values == pytest.approx({"nchw": 2.0, "nhwc": 1.0, "best of both": 1.6})


def test_points_at_other_settings_are_not_compared(network: Row, frame: Frame) -> None:
    run = frame(
        [
            network("inception_next_tiny", None, None, 1600.0, batch=64),
            network("convnext_tiny", 7, "1", 1000.0, batch=128),
        ]
    )
    assert of(verdicts(run), "training")["verdict"] == NOT_MEASURED


def test_both_forms_of_convnext_are_judged_and_named(network: Row, frame: Frame) -> None:
    run = frame(
        [
            network("inception_next_tiny", None, None, 1600.0),
            network("convnext_tiny.fb", 7, "1", 1000.0),
            network("convnext_tiny", 7, "1", 1400.0),
        ]
    )
    judged = verdicts(run)
    assert of(judged, "training", form="Facebook's")["verdict"] == HOLDS
    assert of(judged, "training", form="timm's")["verdict"] == FAILS


def test_one_slower_step_refutes_that_fewer_channels_keep_speeding_up(network: Row, frame: Frame) -> None:
    speeds = {"1": 800.0, "1/2": 900.0, "1/4": 850.0, "1/8": 1000.0}
    run = frame([network("convnext_tiny", 3, share, speed) for share, speed in speeds.items()])
    row = of(verdicts(run), "partial")
    assert row["verdict"] == FAILS
    assert "1/2 to 1/4" in row["what"]


def test_the_least_sure_step_decides_that_it_holds(network: Row, frame: Frame) -> None:
    speeds = {"1": 800.0, "1/2": 900.0, "1/4": 903.0}
    row = of(verdicts(frame([network("convnext_tiny", 3, s, v) for s, v in speeds.items()])), "partial")
    assert row["verdict"] == UNDECIDED


def test_one_round_decides_nothing(network: Row, frame: Frame) -> None:
    rows = [network("inception_next_tiny", None, None, 1600.0), network("convnext_tiny", 7, "1", 800.0)]
    for row in rows:
        row.update(low_s=None, high_s=None)
    row = of(verdicts(frame(rows)), "training")
    assert row["verdict"] == UNDECIDED
    assert "one round" in row["what"]


def test_memory_holds_near_the_copy_rate_and_is_undecided_far_from_it(operator: Row, frame: Frame) -> None:
    copy = {
        "case": "control_copy",
        "status": "ok",
        "median_s": 1e-4,
        "work_bytes": 3e8,
        "bytes_per_s": 3e12,
        "key": "c",
    }
    near = [operator("depthwise_conv", 7, None, "96x56x56", 1.2e-4), copy]
    far = [operator("depthwise_conv", 7, None, "96x56x56", 9e-4), copy]
    assert of(verdicts(frame(near)), "memory")["verdict"] == HOLDS
    row = of(verdicts(frame(far)), "memory")
    assert row["verdict"] == UNDECIDED
    assert next(one for one in text_rows([row]))["here"] == "11.1 % (11.1-11.2)"
    cold = [{**near[0], "cache": "cold"}, copy]
    assert of(verdicts(frame(cold), cache_bytes=1e8), "memory")["verdict"] == HOLDS
    assert of(verdicts(frame(cold), cache_bytes=2e8), "memory")["verdict"] == NOT_MEASURED, "a copy inside the cache"


def test_an_empty_run_says_what_each_claim_needs() -> None:
    judged = verdicts(pandas.DataFrame())
    assert [row["claim"] for row in judged] == [claim.name for claim in CLAIMS]
    assert {row["verdict"] for row in judged} == {NOT_MEASURED}
    assert all(row["what"].startswith("needs") for row in judged)
    assert len(text_rows(judged)) == len(CLAIMS)


def test_timms_published_tables_are_quoted_with_both_signs() -> None:
    assert "0.72-0.93 times ConvNeXt-T in eager mode" in contrast()
    assert "0.99-1.03 times compiled" in contrast()
