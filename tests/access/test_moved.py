"""Bytes of measured points: stock's from its model, ours from a trace at another batch."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton")

from benchbench.access import baseline, rows
from benchbench.access.moved import branches_of, moved_rows, specs_of, traffic_of
from benchbench.access.shipped import Spec
from benchbench.access.stock import stock_bytes

POINT: dict[str, Any] = {
    "case": "inception_dwconv",
    "kernel_size": 11,
    "ratio": "1/8",
    "shape": "96x56x56",
    "batch": 128,
    "precision": "fp32",
    "layout": "nchw",
    "mode": "forward_backward",
    "backend": "aten",
}
TRAFFIC = {
    Spec("inception_dwconv", direction, "fp32", "nchw", "96x56x56"): {"program_sector_bytes": sectors}
    for direction, sectors in (("forward", 1000), ("backward", 1500))
}


def test_stocks_bytes_are_derived_for_both_directions() -> None:
    (row,) = moved_rows([POINT])
    sizes = branches_of(POINT)
    assert sizes is not None
    assert row["bytes"] == stock_bytes(sizes) + stock_bytes(sizes, mode="backward")
    assert (row["provenance"], row["kernel_size"], row["backend"]) == ("derived", 11, "aten")


def test_stocks_bytes_are_derived_for_every_depthwise_operator() -> None:
    point = {**POINT, "kernel_size": 7, "mode": "forward"}
    tensor = 128 * 96 * 56 * 56 * 4
    (whole,) = moved_rows([{**point, "case": "depthwise_conv", "ratio": None}])
    (partial,) = moved_rows([{**point, "case": "partial_depthwise_conv", "ratio": "1/4"}])
    assert whole["bytes"] == 2 * tensor + 96 * 50 * 4
    assert partial["bytes"] == 3 * tensor + 24 * 50 * 4


def test_ours_are_the_traced_bytes_at_the_points_batch() -> None:
    (row,) = moved_rows([{**POINT, "backend": "triton"}], TRAFFIC)
    assert (row["bytes"], row["provenance"]) == (2500 * 64, "M1")


def test_what_hardware_counted_is_believed_first_and_for_every_operation() -> None:
    points = [{**POINT, "key": "a"}, {**POINT, "key": "b", "case": "depthwise_conv"}]
    found = moved_rows(points, TRAFFIC, {"a": (5e9, "M3"), "b": (7e9, "M4")})
    assert [(row["bytes"], row["provenance"]) for row in found] == [(5e9, "M3"), (7e9, "M4")]


@pytest.mark.parametrize(
    "change",
    [
        {"backend": "triton", "ratio": "1/4"},
        {"backend": "triton", "kernel_size": 7},
        {"backend": "triton", "precision": "amp-fp16"},
        {"backend": "naive"},
        {"case": "depthwise_conv", "backend": "triton"},
        {"case": "control_copy"},
        {"case": "depthwise_conv", "shape": None},
        {"case": "depthwise_conv", "precision": None},
        {"mode": "infer"},
    ],
)
def test_what_is_not_known_has_no_row(change: dict[str, Any]) -> None:
    assert moved_rows([{**POINT, **change}], TRAFFIC) == []


def test_a_point_of_ours_names_its_traces_and_no_other_point_names_any() -> None:
    ours = {**POINT, "backend": "triton", "kernel_size": 7, "ratio": "1/4", "precision": "tf32", "layout": "nhwc"}
    finer = {"kernel_size": 7, "ratio": "1/4"}
    assert specs_of(ours) == tuple(
        Spec("inception_dwconv", direction, "fp32", "nhwc", "96x56x56", **finer)
        for direction in ("forward", "backward")
    )
    assert specs_of(POINT) == ()
    assert specs_of({**ours, "precision": "amp-fp16"}) == ()


def test_committed_traces_are_taken_and_others_made_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    (forward, backward) = TRAFFIC
    traced: list[Spec] = []

    def trace(specs: list[Spec], **_: Any) -> list[dict[str, Any]]:
        traced.extend(specs)
        return [TRAFFIC[spec] for spec in specs]

    monkeypatch.setattr(baseline, "standing_traffic", lambda: {forward: TRAFFIC[forward]})
    monkeypatch.setattr(rows, "traffic_rows", trace)
    ours = [POINT, {**POINT, "backend": "triton"}]
    assert traffic_of(ours) == {forward: TRAFFIC[forward]}
    assert traced == []
    assert traffic_of(ours, trace=True) == TRAFFIC
    assert traced == [backward]
    assert traffic_of([POINT], trace=True) == {}
