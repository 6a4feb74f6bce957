"""Do the paper's tables stand beside ours, row by row, with every difference explained?"""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

import benchbench
from benchbench.published import differences
from benchbench.published.entries import count_reason, entries, entries_named, entry_named
from benchbench.reports.paper_table import Build, elsewhere, footnotes, paper_rows, text_rows

Row = Callable[..., dict[str, Any]]
Frame = Callable[..., pandas.DataFrame]


def named(table: list[dict[str, Any]], model: str, img_size: int | str = 224) -> dict[str, Any]:
    return next(row for row in table if row["model"] == model and row["img_size"] == img_size)


@pytest.mark.parametrize(("number", "rows"), [(1, 16), (2, 3), (3, 9), (4, 47), (5, 7), (6, 9), (7, 14), (8, 11)])
def test_every_row_of_every_table_is_there_with_timms_form_after_facebooks(number: int, rows: int) -> None:
    table = paper_rows(number)
    assert len(table) == rows
    assert len(text_rows(table)) == rows


def test_the_fields_that_scripts_read_are_there_without_a_run() -> None:
    row = named(paper_rows(4), "InceptionNeXt-T")
    assert row["network"] == "inception_next_tiny"
    assert (row["paper_params_m"], row["paper_macs_g"]) == (28, 4.2)
    assert (row["paper_train_img_per_s"], row["paper_infer_img_per_s"], row["top1_pct"]) == (901, 2900, 82.3)
    assert [row[name] for name in ("train_img_per_s", "infer_img_per_s", "params_m", "macs_g", "builds")] == [None] * 5


def test_the_ratio_to_the_baseline_stands_beside_the_papers(networks: pandas.DataFrame) -> None:
    run = networks.assign(model=networks["model"].replace("convnext_tiny", "convnext_tiny.fb"))
    row = named(paper_rows(4, run), "InceptionNeXt-T")
    assert row["baseline"] == "ConvNeXt-T"
    assert row["paper_train_ratio"] == pytest.approx(901 / 575)
    assert row["train_ratio"] == pytest.approx(1600 / 1150)
    assert row["train_low_ratio"] < row["train_ratio"] < row["train_high_ratio"]
    (said,) = [one for one in text_rows(paper_rows(4, run)) if one["model"] == "InceptionNeXt-T"]
    assert said["train against baseline"] == "+39 % (+38 to +40)"
    assert said["train against baseline, paper"] == "+57 %"
    assert said["train (img/s)"] == "1,600 (1,592-1,608)"


def test_timms_convnext_is_never_shown_as_the_form_that_the_paper_timed(networks: pandas.DataFrame) -> None:
    table = paper_rows(1, networks)
    assert named(table, "ConvNeXt-T/k3")["train_img_per_s"] is None
    assert named(table, "ConvNeXt-T/k3, timm's form")["train_img_per_s"] == 1500
    assert named(table, "ConvNeXt-T/k3, timm's form")["paper_train_img_per_s"] is None


def test_a_resolution_is_its_own_row(network: Row, frame: Frame) -> None:
    table = paper_rows(4, frame([network("inception_next_base", None, None, 300.0, img_size=384)]))
    assert named(table, "InceptionNeXt-B", 384)["train_img_per_s"] == 300
    assert named(table, "InceptionNeXt-B")["train_img_per_s"] is None


def test_stock_points_at_batch_128_are_preferred_and_our_kernels_never_pose_as_stock(
    network: Row, frame: Frame
) -> None:
    run = frame(
        [
            network("inception_next_tiny", None, None, 500.0, batch=32),
            network("inception_next_tiny", None, None, 600.0),
            network("inception_next_tiny", None, None, 999.0, backend="triton"),
            network("inception_next_tiny", None, None, 999.0, compile="default"),
        ]
    )
    assert named(paper_rows(4, run), "InceptionNeXt-T")["train_img_per_s"] == 600


def test_frames_and_crops_of_a_head_are_its_row(network: Row, frame: Frame) -> None:
    run = [
        network("upernet.convnext_tiny", None, None, 20.0, mode="infer", img_size=512, aspect=4, batch=1),
        network("upernet.convnext_tiny", None, None, 99.0, mode="infer", img_size=512, aspect=1, batch=1),
        network("upernet.convnext_tiny", None, None, 30.0, mode="train", img_size=512, aspect=1, batch=16),
        network("semantic_fpn.resnet50c", None, None, 40.0, mode="infer", img_size=512, aspect=1, batch=1),
    ]
    row = named(paper_rows(6, frame(run)), "ConvNeXt-T", "512x2048")
    assert (row["infer_img_per_s"], row["train_img_per_s"]) == (20, 30)
    assert named(paper_rows(7, frame(run)), "ResNet-50", "512x512")["infer_img_per_s"] == 40


def test_a_run_at_another_size_than_the_tables_says_so(network: Row, frame: Frame) -> None:
    small = frame([network("inception_next_tiny", None, None, 500.0, img_size=64)])
    assert elsewhere(paper_rows(4, small), small) == [
        "None of the networks measured here (at 64 px) is a row of this table at its size."
    ]
    right = frame([network("inception_next_tiny", None, None, 500.0)])
    assert elsewhere(paper_rows(4, right), right) == []
    assert elsewhere(paper_rows(4, frame([])), frame([])) == []


def test_merged_branches_are_the_row_in_inference_alone(network: Row, frame: Frame) -> None:
    run = [
        network("replknet_31b.merged", None, None, 9.0, mode="infer"),
        network("replknet_31b", None, None, 5.0, mode="infer"),
    ]
    run += [network("replknet_31b", None, None, 3.0)]
    row = named(paper_rows(4, frame(run)), "RepLKNet-31B")
    assert (row["infer_img_per_s"], row["train_img_per_s"]) == (9, 3)


def test_a_point_that_failed_says_so_in_its_row_and_in_a_footnote(network: Row, frame: Frame) -> None:
    table = paper_rows(4, frame([network("inception_next_base", None, None, 1.0, status="oom", img_size=384)]))
    row = named(table, "InceptionNeXt-B", 384)
    assert (row["train_status"], row["train_img_per_s"]) == ("oom", None)
    assert any("InceptionNeXt-B at 384 (train: oom)" in note for note in footnotes(table))
    (said,) = [one for one in text_rows(table) if (one["model"], one["size"]) == ("InceptionNeXt-B", "384")]
    assert said["train (img/s)"] == "oom"


def test_a_row_names_its_batch_where_rows_differ_in_it(network: Row, frame: Frame) -> None:
    run = [network("inception_next_tiny", None, None, 900.0), network("convnext_tiny.fb", 7, None, 600.0)]
    same = {one["model"]: one["train (img/s)"] for one in text_rows(paper_rows(4, frame(run)))}
    assert same["InceptionNeXt-T"] == "900.0 (895.5-904.5)"
    run += [network("inception_next_base", None, None, 300.0, batch=96)]
    run += [network("convnext_base.fb", 7, None, 1.0, status="oom")]
    table = paper_rows(4, frame(run))
    said = {(one["model"], one["size"]): one["train (img/s)"] for one in text_rows(table)}
    assert said["InceptionNeXt-B", "224"].endswith(", batch 96")
    assert said["InceptionNeXt-T", "224"].endswith(", batch 128")
    assert said["ConvNeXt-B", "224"] == "oom, batch 128"
    assert (named(table, "InceptionNeXt-B")["train_batch"], named(table, "DeiT-S")["train_batch"]) == (96, None)
    assert any("Measured here: tf32, batch 128; tf32, batch 96." in note for note in footnotes(table))


def test_a_count_that_prints_otherwise_is_footnoted_with_its_reason() -> None:
    built = {
        entry_named(4, "Swin-T"): Build(True, 28_288_354, 4_490_000_000),
        entry_named(4, "InceptionNeXt-T"): Build(True, 28_056_000, 4_190_000_000),
        entry_named(4, "DeiT-S"): Build(True, 99_000_000, 4_600_000_000),
        entry_named(4, "Swin-S"): Build(True, 49_600_000, 8_768_500_000, 8_740_900_000),
        entry_named(4, "PVT-Medium"): Build(True, 44_200_000, 6_900_000_000, 6_800_000_000),
    }
    table = paper_rows(4, built=built)
    notes = [note for note in footnotes(table) if "counted" in note]
    assert len(notes) == 4
    assert any("Swin-S: 8.8 G MACs counted, 8.7 printed: without the norms" in note for note in notes)
    assert any("PVT-Medium: 6.9 G" in note and "no reason known" in note for note in notes)
    assert any("Swin-T: 28 M parameters counted, 29 printed: 28.29 M are counted" in note for note in notes)
    assert any("DeiT-S: 99 M" in note and "no reason known" in note for note in notes)
    assert named(table, "InceptionNeXt-T")["params_m"] == pytest.approx(28.056)


def test_replknet_is_counted_with_its_branches_merged_and_is_the_row_that_trains() -> None:
    entry = entry_named(4, "RepLKNet-31B")
    assert (entry.network, entry.counted) == ("replknet_31b", "replknet_31b.merged")
    assert entry_named(4, "ResNet-50").counted == "resnet50"


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 4, 5, 6, 7, 8])
def test_every_row_builds_and_counts_as_printed_or_for_a_known_reason(number: int) -> None:
    from benchbench.commands.paper import _built

    table = paper_rows(number, built=_built(entries(number)))
    assert [row["model"] for row in table if not row["builds"]] == []
    assert [note for note in footnotes(table) if "no reason known" in note] == []


def test_a_reason_belongs_to_a_row_that_exists_and_to_both_forms_of_it() -> None:
    for row in differences():
        same = [e for e in entries(int(row["table"])) if (e.label, str(e.img_size)) == (row["model"], row["img_size"])]
        assert same, row
        assert row["count"] in ("params", "macs")
    assert count_reason(4, "ConvNeXt-B, timm's form", 384, "macs") == count_reason(4, "ConvNeXt-B", 384, "macs") != ""


def test_a_figure_that_the_paper_misprints_is_flagged() -> None:
    (note,) = [note for note in footnotes(paper_rows(4)) if "misprint" in note]
    assert note.startswith("RegNetY-8G")
    assert "689" in note


def test_a_row_that_does_not_build_says_why() -> None:
    table = paper_rows(8, built={entry_named(8, "LayerNorm"): Build(False, note="no module")})
    assert any("LayerNorm does not build: no module" in note for note in footnotes(table))


def test_the_counts_of_table_2_are_the_formulas_at_kernel_11() -> None:
    printed = {row["model"]: (row["printed_params_m"], row["printed_macs_g"]) for row in paper_rows(2)}
    assert printed["inception depthwise"] == ("0.000372", "0.001166592")
    assert printed["depthwise"] == (f"{11**2 * 96 / 1e6:.6f}", f"{11**2 * 96 * 56**2 / 1e9:.9f}")


def test_the_rows_that_timm_lacks_name_networks_that_we_build() -> None:
    # By its path, because the package around it imports torch.
    own = runpy.run_path(str(Path(benchbench.__file__).parent / "models" / "own.py"))["OWN"]
    ours = {entry.network for number in (1, 4, 5, 8) for entry in entries(number)}
    ours = {
        name
        for name in ours
        if name.endswith(".fb") or "_iso_" in name or name.startswith(("metanext", "inception_next_tiny."))
    }
    assert len(ours) == 13
    assert ours - set(own) == set()


def test_every_baseline_is_a_row_of_its_own_table() -> None:
    for number in range(1, 9):
        labels = {entry.label for entry in entries(number)}
        assert {entry.baseline for entry in entries(number)} <= labels
    assert entry_named(4, "Swin-S").baseline == "ConvNeXt-S"
    assert entry_named(6, "Swin-B").baseline == "ConvNeXt-B"
    assert entry_named(7, "PVT-Medium").baseline == "ResNet-101"


def test_a_row_or_table_that_does_not_exist_is_refused_with_what_does() -> None:
    with pytest.raises(ValueError, match="InceptionNeXt-T"):
        entry_named(8, "VGG-16")
    with pytest.raises(ValueError, match="1, 2, 3, 4, 5, 6, 7, 8"):
        paper_rows(9)


def test_rows_are_chosen_by_the_papers_name_or_the_networks() -> None:
    chosen = entries_named(4, ("resnet50", "InceptionNeXt-B"))
    assert [(entry.label, entry.img_size) for entry in chosen] == [
        ("ResNet-50", 224),
        ("RSB-ResNet-50", 224),
        ("InceptionNeXt-B", 224),
        ("InceptionNeXt-B", 384),
    ]
    assert entries_named(8, ()) == entries(8)
