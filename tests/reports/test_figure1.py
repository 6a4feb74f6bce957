"""Does figure 1 draw what was measured, name what it leaves out, and come out the same every time?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from benchbench.reports.figure1 import figure1
from benchbench.reports.save import save

Row = Callable[..., dict[str, Any]]


def texts(chart: Any) -> list[str]:
    """Every word on a figure, its panels included."""
    from matplotlib.text import Text

    return [text.get_text() for text in chart.figure.findobj(Text) if text.get_text()]


def rows_of(chart: Any, **wanted: Any) -> pandas.DataFrame:
    data = chart.data
    for name, value in wanted.items():
        data = data[data[name] == value]
    return data


def test_every_measured_network_is_in_the_data_and_the_better_layout_is_named(networks: pandas.DataFrame) -> None:
    chart = figure1(networks)
    ours = rows_of(chart, series="measured")
    assert len(ours) == 15
    assert set(ours["layout"]) == {"nhwc"}
    assert set(ours["layouts"]) == {"nchw, nhwc"}
    assert any("always nhwc" in note for note in chart.notes)


def test_the_better_layout_is_chosen_point_by_point(network: Row, frame: Callable[..., pandas.DataFrame]) -> None:
    chart = figure1(
        frame(
            [
                network("resnet50", None, None, 900.0, layout="nchw"),
                network("resnet50", None, None, 800.0, layout="nhwc"),
                network("convnext_tiny", 7, "1", 500.0, layout="nchw"),
                network("convnext_tiny", 7, "1", 600.0, layout="nhwc"),
            ]
        )
    )
    chosen = {row["model"]: row["layout"] for row in rows_of(chart, series="measured").to_dict("records")}
    assert chosen == {"resnet50": "nchw", "convnext_tiny": "nhwc"}
    assert any("nchw for ResNet-50; nhwc for ConvNeXt-T" in note for note in chart.notes)


def test_a_combination_without_accuracy_is_in_the_table_and_not_on_the_chart(networks: pandas.DataFrame) -> None:
    chart = figure1(networks)
    left_out = rows_of(chart, drawn=False)
    assert set(left_out["label"]) == {
        "ConvNeXt-T/k11",
        "ConvNeXt-T/k11 (1/8)",
        "ConvNeXt-T/k5 (1/8)",
        "ConvNeXt-T/k7 (1/8)",
        "InceptionNeXt-T/k3",
        "InceptionNeXt-T/k5",
    }
    assert left_out["throughput_img_per_s"].notna().all()
    note = next(note for note in chart.notes if "Without a published accuracy" in note)
    assert "ConvNeXt-T/k11 (1/8)" in note
    drawn = [text for text in texts(chart) if text in set(left_out["label"])]
    assert drawn == []


def test_the_overlay_has_the_six_points_of_the_paper_without_intervals_and_can_be_switched_off(
    network: Row, frame: Callable[..., pandas.DataFrame]
) -> None:
    run = frame([network("inception_next_tiny", None, None, 1600.0)])
    paper = rows_of(figure1(run), series="paper")
    assert set(paper["label"]) == {
        "ConvNeXt-T/k3", "ConvNeXt-T/k5", "ConvNeXt-T/k7", "InceptionNeXt-T", "ResNet-50", "Swin-T",
    }  # fmt: skip
    assert paper["throughput_low_img_per_s"].isna().all()
    assert any("no interval" in note for note in figure1(run).notes)
    alone = figure1(run, overlay=False)
    assert set(alone.data["series"]) == {"measured"}
    assert not any("paper" in text.lower() for text in texts(alone))


def test_inference_shows_the_inference_throughputs_of_the_paper(networks: pandas.DataFrame) -> None:
    paper = rows_of(figure1(networks, x="infer"), series="paper", label="ConvNeXt-T/k7")
    assert list(paper["throughput_img_per_s"]) == [2413.0]


def test_the_axis_names_the_unit_and_one_precision_and_the_notes_name_the_others(
    network: Row, frame: Callable[..., pandas.DataFrame]
) -> None:
    run = frame([network("resnet50", None, None, 900.0, precision=p) for p in ("fp32", "amp-fp16")])
    chart = figure1(run)
    assert chart.figure.axes[0].get_xlabel() == "training throughput (img/s), fp32"
    assert any("also has amp-fp16" in note for note in chart.notes)
    assert set(rows_of(figure1(run, precision="amp-fp16"), series="measured")["precision"]) == {"amp-fp16"}
    with pytest.raises(ValueError, match="amp-fp16, fp32"):
        figure1(run, precision="tf32")


def test_a_point_at_the_conditions_of_the_paper_is_filled_and_another_is_hollow_and_footnoted(
    network: Row, frame: Callable[..., pandas.DataFrame]
) -> None:
    chart = figure1(
        frame(
            [
                network("resnet50", None, None, 900.0),
                network("convnext_tiny", 7, "1", 700.0, batch=64),
                network("inception_next_tiny", 11, "1/8", 700.0, compile="default"),
            ]
        )
    )
    ours = rows_of(chart, series="measured").set_index("model")
    assert dict(ours["hollow"]) == {"resnet50": False, "convnext_tiny": True, "inception_next_tiny": True}
    note = next(note for note in chart.notes if note.startswith("Hollow"))
    assert "batch 64" in note
    assert "compiled" in note


def test_a_run_at_small_shapes_stands_hollow_at_the_accuracy_of_224_pixels_and_says_so(
    network: Row, frame: Callable[..., pandas.DataFrame]
) -> None:
    chart = figure1(
        frame([network("resnet50", None, None, 9.0, batch=2, img_size=64, precision="fp32", clock="host")]),
        conditions="CPU preset",
    )
    row = rows_of(chart, series="measured").iloc[0]
    assert row["drawn"]
    assert row["hollow"]
    assert pandas.isna(row["top1_pct"])
    assert row["accuracy_pct"] == 78.4
    assert any("64 px, where no accuracy is published" in note for note in chart.notes)
    assert any("CPU preset" in text for text in texts(chart))


def test_one_published_resolution_is_enough_to_leave_the_others_off(
    network: Row, frame: Callable[..., pandas.DataFrame]
) -> None:
    chart = figure1(
        frame([network("resnet50", None, None, 900.0), network("convnext_tiny", 7, "1", 300.0, img_size=320)])
    )
    assert dict(rows_of(chart, series="measured").set_index("model")["drawn"]) == {
        "resnet50": True,
        "convnext_tiny": False,
    }


def test_speeds_of_another_order_than_the_paper_get_a_panel_of_their_own(networks: pandas.DataFrame) -> None:
    slow = networks.assign(throughput_img_per_s=networks["throughput_img_per_s"] / 100)
    slow = slow.assign(throughput_low_img_per_s=None, throughput_high_img_per_s=None)
    assert len(figure1(slow).figure.axes) == 2
    assert len(figure1(networks).figure.axes) == 1


def test_an_interval_that_leaves_the_panel_is_cut_and_counted(
    network: Row, frame: Callable[..., pandas.DataFrame]
) -> None:
    wide = network("resnet50", None, None, 900.0)
    wide.update(throughput_low_img_per_s=1.0, throughput_high_img_per_s=1e6)
    chart = figure1(frame([wide, network("convnext_tiny", 7, "1", 700.0)]), overlay=False)
    assert chart.figure.axes[0].get_xlim()[1] < 2000
    assert any("leave the panel are cut: 1." in note for note in chart.notes)


def test_points_of_one_network_at_several_settings_are_told_apart_by_what_differs(
    network: Row, frame: Callable[..., pandas.DataFrame]
) -> None:
    rows = [network("resnet50", None, None, 900.0, batch=batch, drop_path="0") for batch in (64, 128)]
    rows += [network("swin_tiny_patch4_window7_224", None, None, 500.0, drop_path=rate) for rate in ("0", "own")]
    rows += [network("deit_small_patch16_224", None, None, 700.0, drop_path="0")]
    labels = set(figure1(frame(rows), overlay=False).data["label"])
    assert labels == {
        "ResNet-50 · batch 64", "ResNet-50 · batch 128", "Swin-T · drop path 0", "Swin-T · drop path own", "DeiT-S",
    }  # fmt: skip


def test_both_forms_of_convnext_have_a_line_of_their_own(network: Row, frame: Callable[..., pandas.DataFrame]) -> None:
    speeds = {
        ("convnext_tiny", 7): 700.0,
        ("convnext_tiny", 3): 900.0,
        ("convnext_tiny.fb", 7): 600.0,
        ("convnext_tiny.fb", 3): 800.0,
    }
    chart = figure1(frame([network(m, k, "1", s) for (m, k), s in speeds.items()]), overlay=False)
    lines = sorted(tuple(line.get_xdata()) for line in chart.figure.axes[0].lines if len(line.get_xdata()) == 2)
    assert [line for line in lines if line[0] != line[1]] == [(600.0, 800.0), (700.0, 900.0)]


def test_sizes_of_the_kernel_are_joined_in_their_own_order_whatever_the_noise(
    network: Row, frame: Callable[..., pandas.DataFrame]
) -> None:
    speeds = {3: 800.0, 5: 820.0, 7: 600.0}
    run = frame([network("convnext_tiny", k, "1", speed) for k, speed in speeds.items()])
    panel = figure1(run, overlay=False).figure.axes[0]
    assert (600.0, 820.0, 800.0) in [tuple(line.get_xdata()) for line in panel.lines]


def test_what_another_tool_published_is_hollow_named_and_never_in_the_sentence(
    network: Row, frame: Callable[..., pandas.DataFrame]
) -> None:
    def published(model: str, speed: float, source: str) -> dict[str, Any]:
        row = network(
            model, None, None, speed, clock="imported", reason="imported from timm", source=source, backend=None
        )
        return {name: None if "low" in name or "high" in name else cell for name, cell in row.items()}

    rows = [published(m, s, "pt240-rtx4090") for m, s in (("inception_next_tiny", 9e3), ("convnext_tiny", 1e3))]
    rows += [published("convnext_tiny", 2e3, "pt240-rtx3090"), network("inception_next_tiny", 11, "1/8", 1500.0)]
    chart = figure1(frame(rows))
    ours = rows_of(chart, series="measured").set_index("label")
    elsewhere = {f"{name} · pt240-{gpu}" for name, gpu in (("InceptionNeXt-T", "rtx4090"), ("ConvNeXt-T", "rtx4090"))}
    assert set(ours.index) == {*elsewhere, "ConvNeXt-T · pt240-rtx3090", "InceptionNeXt-T"}
    assert dict(ours["hollow"]) == {label: "pt240" in label for label in ours.index}
    assert any("3 points imported from timm" in note for note in chart.notes)
    assert not any(" is " in text and "x (" in text for text in texts(chart))


def test_failed_points_are_counted_in_the_notes_and_not_drawn(
    network: Row, frame: Callable[..., pandas.DataFrame]
) -> None:
    failed = network("convnext_tiny", 7, "1", 1.0, status="oom", reason="out of memory")
    wrong = network("resnet50", None, None, 1.0, status="wrong", reason="off by one", median_s=0.1)
    chart = figure1(frame([network("inception_next_tiny", 11, "1/8", 900.0), failed, wrong]))
    assert list(rows_of(chart, series="measured")["model"]) == ["inception_next_tiny"]
    assert any("1 oom, 1 wrong" in note for note in chart.notes)


@pytest.mark.parametrize("overlay", [True, False])
def test_an_empty_run_gives_a_chart_that_says_so(overlay: bool, tmp_path: Path) -> None:
    chart = figure1(pandas.DataFrame(), overlay=overlay)
    assert any("Nothing to draw" in note for note in chart.notes)
    assert len(save(chart, tmp_path)) == 4


def test_one_point_from_one_round_has_no_interval(
    network: Row, frame: Callable[..., pandas.DataFrame], tmp_path: Path
) -> None:
    row = network("resnet50", None, None, 900.0)
    row.update({name: None for name in row if "low" in name or "high" in name})
    chart = figure1(frame([row]), overlay=False)
    assert chart.figure.axes[0].containers == []
    save(chart, tmp_path)


def test_hostile_names_are_drawn_as_they_are(
    network: Row, frame: Callable[..., pandas.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchbench import published

    names = ["$x^{", "a\nb", "<script>&amp;", "n" * 400, "网络", "\x00\x07", r"\frac", "100 %", "a|b", "🦆"]
    monkeypatch.setattr(published, "accuracy", lambda *_, **__: 80.0)
    chart = figure1(frame([network(name, None, None, 900.0 + i) for i, name in enumerate(names)]))
    save(chart, tmp_path)
    assert max(len(text) for text in texts(chart) if text.startswith("n")) < 60


def test_the_same_run_gives_the_same_bytes_on_any_day(
    networks: pandas.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {path.name: path.read_bytes() for path in save(figure1(networks), tmp_path / "a")}
    shuffled = networks.copy()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    second = {path.name: path.read_bytes() for path in save(figure1(shuffled), tmp_path / "b")}
    assert sorted(first) == ["figure1.csv", "figure1.pdf", "figure1.png", "figure1.svg"]
    assert first == second
    assert b"CreationDate" not in first["figure1.pdf"]
    assert b"dc:date" not in first["figure1.svg"]


def test_a_readers_matplotlib_settings_change_nothing(networks: pandas.DataFrame, tmp_path: Path) -> None:
    import matplotlib

    first = [path.read_bytes() for path in save(figure1(networks), tmp_path / "a", formats=("png",))]
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "figure.dpi": 50}):
        second = [path.read_bytes() for path in save(figure1(networks), tmp_path / "b", formats=("png",))]
    assert first == second


def test_the_dark_theme_is_dark_and_another_is_refused(networks: pandas.DataFrame) -> None:
    assert figure1(networks, theme="dark").figure.get_facecolor()[0] < 0.2
    with pytest.raises(ValueError, match="light or dark"):
        figure1(networks, theme="sepia")
    with pytest.raises(ValueError, match="train or infer"):
        figure1(networks, x="forward")


def test_drawing_leaves_pyplot_alone(networks: pandas.DataFrame, tmp_path: Path) -> None:
    import subprocess
    import sys

    frame = tmp_path / "frame.pickle"
    networks.to_pickle(frame)
    program = (
        "import pandas, sys; from benchbench.reports.figure1 import figure1;"
        f"figure1(pandas.read_pickle({str(frame)!r}));"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
