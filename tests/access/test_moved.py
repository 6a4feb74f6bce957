"""Bytes of measured points: stock's from its model, ours from a trace at another batch."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton")

from benchbench.access.moved import mixer_of, moved_rows
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
SAME = {"dtype": "fp32", "layout": "nchw", "shape": "96x56x56", "kernel_size": 11}
TRAFFIC = [
    {**SAME, "direction": direction, "program_sector_bytes": sectors}
    for direction, sectors in (("forward", 1000), ("backward", 1500))
]


def test_stocks_bytes_are_derived_for_both_directions() -> None:
    (row,) = moved_rows([POINT])
    sizes = mixer_of(POINT)
    assert row["bytes"] == stock_bytes(sizes) + stock_bytes(sizes, mode="backward")
    assert (row["provenance"], row["kernel_size"], row["backend"]) == ("derived", 11, "aten")


def test_ours_are_the_traced_bytes_at_the_points_batch() -> None:
    (row,) = moved_rows([{**POINT, "backend": "triton"}], TRAFFIC)
    assert (row["bytes"], row["provenance"]) == (2500 * 64, "M1")


@pytest.mark.parametrize(
    "change",
    [
        {"backend": "triton", "ratio": "1/4"},
        {"backend": "triton", "kernel_size": 7},
        {"backend": "triton", "precision": "amp-fp16"},
        {"backend": "naive"},
        {"case": "depthwise_conv"},
        {"mode": "infer"},
    ],
)
def test_what_is_not_known_has_no_row(change: dict[str, Any]) -> None:
    assert moved_rows([{**POINT, **change}], TRAFFIC) == []
