"""Do the roofline, access, breakdown and history charts draw what they were given and say what they lack?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from benchbench.reports.access import access
from benchbench.reports.breakdown import breakdown
from benchbench.reports.chart import Chart
from benchbench.reports.history import history
from benchbench.reports.roofline import roofline
from benchbench.reports.save import save

Row = Callable[..., dict[str, Any]]
Frame = Callable[..., pandas.DataFrame]
COPY = {"case": "control_copy", "status": "ok", "median_s": 1e-4, "work_bytes": 3e8, "bytes_per_s": 3e12, "key": "copy"}


def bar(name: str, provenance: str, known: float, *, case: str = "depthwise_conv") -> dict[str, Any]:
    return {
        "name": name, "case": case, "flops_per_s": 6e12, "least_bytes": 3e8, "known_bytes": known,
        "provenance": provenance, "intensity_high": 2.0, "intensity_low": 2.0 * 3e8 / known, "limiter": "memory",
    }  # fmt: skip


def texts(chart: Chart) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in chart.figure.findobj(Text) if text.get_text()]


def test_a_roofline_bar_reaches_from_the_least_to_the_known_bytes_with_its_letter() -> None:
    chart = roofline(pandas.DataFrame([bar("k7", "M2", 6e8)]), {"memory_bytes_per_s": 3.2e12, "fma_flops_per_s": 5e13})
    panel = chart.figure.axes[0]
    assert [1.0, 2.0] in [list(line.get_xdata()) for line in panel.lines]
    assert "k7 M2" in texts(chart)
    assert any("M2: time x copy rate" in note for note in chart.notes)
    assert any("Limited by: memory (1)" in note for note in chart.notes)
    assert any("copy 3.200 TB/s" in text for text in texts(chart))


def test_of_many_points_the_fastest_and_the_slowest_of_each_operation_are_named() -> None:
    points = [
        bar(f"{case} {pace}", "M1", 4e8, case=case) | {"flops_per_s": pace * 1e10}
        for case in ("depthwise_conv", "inception_dwconv")
        for pace in range(1, 10)
    ]
    ends = {"depthwise_conv 9 M1", "depthwise_conv 1 M1", "inception_dwconv 9 M1", "inception_dwconv 1 M1"}
    for drawn, named in ((points, ends), (points[:4], {f"depthwise_conv {pace} M1" for pace in range(1, 5)})):
        chart = roofline(pandas.DataFrame(drawn), {"memory_bytes_per_s": 4e12, "fma_flops_per_s": 6e13})
        assert {text for text in texts(chart) if text.endswith(" M1")} == named
        assert any("the table has all 18" in note for note in chart.notes) is (drawn is points)


def test_a_roof_that_was_not_measured_is_not_drawn_and_named(tmp_path: Path) -> None:
    chart = roofline(pandas.DataFrame([bar("k7", "M0", 3e8)]), {"memory_bytes_per_s": 3.2e12, "fma_flops_per_s": None})
    assert any("not drawn: float32 multiply-add roof" in note for note in chart.notes)
    save(roofline(pandas.DataFrame([bar("a$b", "M1", 4e8)]), {}), tmp_path, formats=("svg",))


def test_points_that_cannot_be_so_fast_are_counted() -> None:
    points = pandas.DataFrame([{**bar("k7", "M0", 3e8), "doubt": "faster than a copy"}])
    assert any("1 points are in doubt" in note for note in roofline(points, {}).notes)


def test_counted_bytes_go_before_the_bound_and_each_says_where_it_is_from(operator: Row, frame: Frame) -> None:
    run = frame(
        [
            operator("depthwise_conv", 7, None, "96x56x56", 4e-4, backend="aten"),
            operator("depthwise_conv", 7, None, "96x56x56", 2e-4, backend="triton"),
            COPY,
        ]
    )
    moved = pandas.DataFrame(
        [
            {
                "case": "depthwise_conv", "kernel_size": 7, "ratio": None, "shape": "96x56x56", "mode": "forward",
                "backend": "triton", "bytes": 3.1e8, "provenance": "M1",
            }
        ]
    )  # fmt: skip
    chart = access(run, moved)
    data = chart.data.set_index("backend")
    assert data.loc["triton", ["moved_bytes", "provenance"]].tolist() == [3.1e8, "M1"]
    assert data.loc["aten", "moved_bytes"] == pytest.approx(4e-4 * 3e12)
    assert data.loc["aten", "provenance"] == "M2"
    assert any("M1: traced" in note and "upper bound" in note for note in chart.notes)


def test_bytes_of_another_layout_are_not_a_points_own(operator: Row, frame: Frame) -> None:
    run = frame([operator("depthwise_conv", 7, None, "96x56x56", 4e-4, backend="aten", layout="nchw"), COPY])
    known = {"case": "depthwise_conv", "kernel_size": 7, "ratio": None, "shape": "96x56x56", "mode": "forward"}
    known |= {"backend": "aten", "provenance": "derived"}
    moved = pandas.DataFrame([{**known, "layout": "nhwc", "bytes": 9e8}, {**known, "layout": "nchw", "bytes": 7e8}])
    assert list(access(run, moved).data["moved_bytes"]) == [7e8]


def test_a_bound_is_never_below_the_least_bytes(operator: Row, frame: Frame) -> None:
    run = frame([operator("depthwise_conv", 3, None, "96x56x56", 1e-5, backend="aten"), COPY])
    assert list(access(run).data["moved_bytes"]) == [3e8]


@pytest.mark.parametrize(("high", "end", "notes"), [(1.5e-5, 1.5e-5, 0), (1e-2, 2e-5, 1)])
def test_an_interval_that_would_flatten_the_bars_is_cut_and_counted(
    operator: Row, network: Row, frame: Frame, high: float, end: float, notes: int
) -> None:
    interval = {"low_s": 1e-6, "high_s": high}
    convolution = operator("depthwise_conv", 3, None, "96x56x56", 1e-5, backend="aten") | interval
    block = network("convnext_tiny", None, None, 1.0, case="block", shape="96x56x56", mode="infer")
    block |= {"median_s": 1e-5, "part_mixer_s": 1e-5, "parts_share": 1.0} | interval
    for chart in (access(frame([convolution, COPY])), breakdown(frame([block]))):
        assert chart.figure.axes[-1].get_xlim()[1] == pytest.approx(1.08e3 * end)
        assert sum("are cut: 1" in note for note in chart.notes) == notes


def test_access_shows_one_shape_and_mode_and_names_the_others(operators: pandas.DataFrame) -> None:
    chart = access(operators)
    assert set(chart.data["shape"]) == {"96x56x56"}
    assert any("also has 768x7x7" in note for note in chart.notes)
    assert any("Bars are missing" in note for note in chart.notes)
    assert set(access(operators, shape="768x7x7", mode="forward_backward").data["mode"]) == {"forward_backward"}
    with pytest.raises(ValueError, match="768x7x7"):
        access(operators, shape="1x1x1")


def test_parts_that_do_not_sum_to_their_block_are_named(network: Row, frame: Frame) -> None:
    def taken_apart(model: str, block: float, **seconds: float) -> dict[str, Any]:
        parts = {f"part_{part}_s": value for part, value in seconds.items()}
        row = network(model, None, None, 1.0, case="block", shape="96x56x56", mode="infer")
        share = sum(seconds.values()) / block
        return row | parts | {"median_s": block, "low_s": None, "high_s": None, "parts_share": share}

    good = taken_apart("inception_next_tiny", 3.2e-3, mixer=1e-3, norm=1e-4, mlp=2e-3, rest=2e-4)
    bad = taken_apart("convnext_tiny", 3e-3, mixer=2e-3, mlp=2e-3)
    assert any("sum to the measured block within 5.0 %" in note for note in breakdown(frame([good])).notes)
    chart = breakdown(frame([good, bad, network("resnet50", None, None, 900.0)]))
    assert any("ConvNeXt-T, 96x56x56, inference, nhwc (+33 %)" in n and "InceptionNeXt" not in n for n in chart.notes)
    assert len(chart.data) == 2
    assert {"50 %", "61 %"} <= set(texts(chart))


def test_a_change_is_marked_named_and_its_commit_shown() -> None:
    values = pandas.DataFrame(
        {
            "commit": [f"commit{number:02}" for number in range(40)],
            "ratio": [1.0] * 25 + [1.04] * 15,
            "low": [0.995] * 25 + [1.035] * 15,
            "high": [1.005] * 25 + [1.045] * 15,
            "change": [number == 25 for number in range(40)],
        }
    )
    chart = history(values)
    assert any(note.startswith("Changed at commit25, now 1.04x (1.03") for note in chart.notes)
    shown = {text for text in texts(chart) if text.startswith("commit")}
    assert "commit25" in shown
    assert not {"commit24", "commit26"} & shown
    assert len(shown) < 20


def test_a_commit_without_a_value_is_a_gap() -> None:
    chart = history(pandas.DataFrame({"commit": ["a", "b", "c"], "ratio": [1.0, None, 1.01]}))
    assert any("1 commits have no value" in note for note in chart.notes)
    with pytest.raises(ValueError, match="ratio"):
        history(pandas.DataFrame({"commit": ["a"]}))


def test_several_series_have_a_panel_each() -> None:
    chart = history(pandas.DataFrame({"commit": ["a", "b"] * 2, "ratio": [1.0] * 4, "series": ["x", "x", "y", "y"]}))
    assert [panel.get_title(loc="left") for panel in chart.figure.axes] == ["x", "y"]


@pytest.mark.parametrize(
    "draw",
    [lambda frame: roofline(frame, {}), access, breakdown, history],
    ids=["roofline", "access", "breakdown", "history"],
)
def test_an_empty_frame_gives_a_chart_that_says_so(draw: Callable[[pandas.DataFrame], Chart], tmp_path: Path) -> None:
    chart = draw(pandas.DataFrame())
    assert any("Nothing to draw" in note for note in chart.notes)
    first = [path.read_bytes() for path in save(chart, tmp_path / "a")]
    assert first == [path.read_bytes() for path in save(draw(pandas.DataFrame()), tmp_path / "b")]
