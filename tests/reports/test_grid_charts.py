"""Do the charts over kernel size and ratio draw every measured point on the right line?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from benchbench.reports.chart import Chart
from benchbench.reports.grid import short
from benchbench.reports.kernels import kernels
from benchbench.reports.ratio import ratio
from benchbench.reports.save import save

Row = Callable[..., dict[str, Any]]
Frame = Callable[..., pandas.DataFrame]


def lines(chart: Chart, panel: int) -> list[tuple[float, ...]]:
    """The x positions of every line of a panel, error bars apart."""
    return [
        tuple(line.get_xdata())
        for line in chart.figure.axes[panel].lines
        if line.get_marker() not in ("None", "_", "|")
    ]


def test_operators_have_a_panel_for_each_shape_and_mode(operators: pandas.DataFrame) -> None:
    chart = kernels(operators)
    assert len(chart.figure.axes) == 4
    assert [panel.get_title(loc="left") for panel in chart.figure.axes[:2]] == ["96x56x56", "768x7x7"]
    assert lines(chart, 0) == [(3.0, 7.0, 11.0)] * 10
    assert len(chart.data) == len(operators)


def test_the_whole_convolution_is_the_end_of_the_line_of_its_partial_form(operators: pandas.DataFrame) -> None:
    chart = ratio(operators)
    rows = [panel.get_ylabel().split("\n")[0] for panel in chart.figure.axes[::2]]
    assert rows == ["Inception", "Inception", "partial depthwise", "partial depthwise"]
    assert lines(chart, 0)[0] == (0.125, 0.25)
    assert lines(chart, 4)[0] == (0.125, 0.25, 1.0)


def test_ticks_are_the_fractions_that_were_asked(operators: pandas.DataFrame) -> None:
    panel = ratio(operators).figure.axes[-1]
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["1/8", "1/4", "1"]


def test_networks_fill_in_their_own_kernel_size_and_leave_out_those_without(networks: pandas.DataFrame) -> None:
    chart = kernels(networks)
    assert chart.name == "kernels-networks"
    assert set(chart.data["model"]) == {"convnext_tiny", "inception_next_tiny"}
    assert set(kernels(networks.drop(columns="kernel_size")).data["kernel_size"]) == {7.0, 11.0}


def test_operators_go_before_networks_unless_asked(networks: pandas.DataFrame, operators: pandas.DataFrame) -> None:
    both = pandas.concat([networks, operators], ignore_index=True)
    assert kernels(both).name == "kernels"
    assert kernels(both, of="networks").name == "kernels-networks"
    with pytest.raises(ValueError, match="operators or networks"):
        kernels(both, of="layers")


def test_triton_is_solid_and_stock_is_hollow(operators: pandas.DataFrame) -> None:
    faces = {
        line.get_label(): line.get_markerfacecolor() for line in kernels(operators).figure.legends[0].legend_handles
    }
    assert faces["depthwise"] == "#ffffff"
    assert faces["depthwise · triton"] != "#ffffff"


def test_the_spread_is_drawn_and_the_axis_begins_at_zero(operators: pandas.DataFrame) -> None:
    panel = kernels(operators).figure.axes[0]
    assert len(panel.containers) == 10
    assert panel.get_ylim()[0] == 0


@pytest.mark.parametrize("draw", [kernels, ratio])
def test_failed_points_are_counted_and_an_empty_run_says_so(
    draw: Callable[..., Chart], network: Row, frame: Frame, tmp_path: Path
) -> None:
    failed = frame([network("convnext_tiny", 7, "1", 1.0, status="crash", reason="killed")])
    chart = draw(failed)
    assert any("1 crash" in note for note in chart.notes)
    assert any("Nothing to draw" in note for note in draw(pandas.DataFrame()).notes)
    save(chart, tmp_path)


@pytest.mark.parametrize("draw", [kernels, ratio])
def test_one_point_is_drawn(draw: Callable[..., Chart], operator: Row, frame: Frame, tmp_path: Path) -> None:
    chart = draw(frame([operator("inception_dwconv", 11, "1/8", "96x56x56", 1e-3)]), conditions="CPU preset")
    assert len(chart.data) == 1
    save(chart, tmp_path)


def test_an_interval_from_two_rounds_does_not_flatten_the_points(operator: Row, frame: Frame) -> None:
    wide = operator("inception_dwconv", 11, "1/8", "96x56x56", 1e-3)
    wide.update(throughput_low_img_per_s=10.0, throughput_high_img_per_s=1e9)
    chart = kernels(frame([wide, operator("inception_dwconv", 7, "1/8", "96x56x56", 1e-3)]))
    assert chart.figure.axes[0].get_ylim()[1] < 300_000
    assert any("leave their panel are cut: 1." in note for note in chart.notes)


def test_lines_at_several_settings_are_told_apart(operator: Row, frame: Frame) -> None:
    run = [operator("depthwise_conv", k, None, "96x56x56", 1e-3 * k, cache=c) for k in (3, 7) for c in ("cold", "warm")]
    chart = kernels(frame(run))
    assert lines(chart, 0) == [(3.0, 7.0)] * 2
    assert set(chart.data["series"]) == {"depthwise · cache cold", "depthwise · cache warm"}


def test_stages_go_from_the_largest_to_the_smallest_whatever_the_order_of_the_run(operator: Row, frame: Frame) -> None:
    shapes = ("768x7x7", "96x56x56", "384x14x14", "192x28x28")
    chart = kernels(frame([operator("depthwise_conv", 7, None, shape, 1e-3) for shape in shapes]))
    assert [panel.get_title(loc="left") for panel in chart.figure.axes] == [
        "96x56x56", "192x28x28", "384x14x14", "768x7x7",
    ]  # fmt: skip


def test_the_same_frame_gives_the_same_bytes(operators: pandas.DataFrame, tmp_path: Path) -> None:
    first, second = (
        [path.read_bytes() for path in save(kernels(operators), tmp_path / name, formats=("svg", "pdf"))]
        for name in "ab"
    )
    assert first == second


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (950, "950"), (9500, "9,500"), (12_000, "12k"), (1_500_000, "1.5M")]
)
def test_a_tick_is_short(value: float, text: str) -> None:
    assert short(value) == text
