"""Are the published figures found by combination, and only where the documents print them?"""

import csv
from importlib import resources

import pytest

from benchbench import published


@pytest.mark.parametrize(
    ("combination", "top1"),
    [
        (("convnext_tiny",), 82.1),
        (("convnext_tiny", 7, "1"), 82.1),
        (("convnext_tiny", 5), 82.0),
        (("convnext_tiny", 3, "1/8"), 80.8),
        (("convnext_tiny", 3, "2/16"), 80.8),
        (("convnext_tiny.fb", 3, "1"), 81.5),
        (("inception_next_tiny",), 82.3),
        (("inception_next_tiny", 7), 82.1),
        (("inception_next_tiny", 11, "1/4"), 82.2),
        (("inception_next_base", None, None, 384), 85.2),
        (("convnext_base", None, None, 384), 85.1),
        (("resnet50",), 78.4),
        (("mambaout_tiny",), 82.742),
    ],
)
def test_an_accuracy_is_found_by_network_kernel_size_ratio_and_resolution(combination: tuple, top1: float) -> None:
    assert published.accuracy(*combination) == top1


@pytest.mark.parametrize(
    "combination",
    [
        ("convnext_tiny", 11),
        ("convnext_tiny", 7, "1/8"),
        ("convnext_tiny", None, None, 64),
        ("inception_next_tiny", 3, "1/8"),
        ("inception_next_tiny", 7, "1/4"),
        ("resnet50", 7),
        ("mambaout_tiny", 3),
        ("my_network",),
    ],
)
def test_a_combination_that_nobody_trained_has_no_accuracy(combination: tuple) -> None:
    assert published.accuracy(*combination) is None


def test_figure_1_has_six_points_and_their_training_throughputs() -> None:
    drawn = {(p.model, p.kernel_size): p.train_img_per_s for p in published.figure1_points()}
    assert drawn == {
        ("convnext_tiny", 7): 575,
        ("convnext_tiny", 5): 675,
        ("convnext_tiny", 3): 798,
        ("swin_tiny_patch4_window7_224", None): 564,
        ("resnet50", None): 969,
        ("inception_next_tiny", 11): 901,
    }


def test_a_dash_of_the_paper_is_none_and_not_zero() -> None:
    point = published.paper_point("focalnet_tiny_lrf")
    assert point is not None
    assert point.train_img_per_s is None


def test_both_recipes_of_resnet_50_are_points() -> None:
    assert [p.top1_pct for p in published.paper_points() if p.model == "resnet50"] == [78.4, 79.8]


def test_the_implausible_throughput_of_regnety_8g_keeps_its_warning() -> None:
    point = published.paper_point("regnety_080")
    assert point is not None
    assert point.train_img_per_s == 689
    assert "misprint" in point.note


def test_a_table_keeps_the_printed_decimals_and_gives_numbers() -> None:
    assert published.printed(4)[5]["params_m"] == "22"
    assert published.table(4)[5]["params_m"] == 22
    assert len(published.table(4)) == 43


def test_a_table_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="1, 2, 3, 4, 5, 6, 7, 8"):
        published.table(11)


def test_a_ratio_that_is_no_fraction_is_refused() -> None:
    with pytest.raises(ValueError, match="1/0"):
        published.accuracy("convnext_tiny", 3, "1/0")


def test_every_row_of_every_file_names_its_source() -> None:
    folder = resources.files("benchbench.published")
    files = [file for file in folder.iterdir() if file.name.endswith(".csv")]
    assert len(files) >= 14
    for file in files:
        rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
        assert rows, file.name
        assert all(row["source"] for row in rows), file.name


def test_every_shipped_file_is_described_in_the_list_of_sources() -> None:
    folder = resources.files("benchbench.published")
    described = (folder / "README.md").read_text(encoding="utf-8")
    assert [file.name for file in folder.iterdir() if file.name.endswith(".csv") and file.name not in described] == []


def test_timm_prints_the_opposite_sign_in_eager_mode() -> None:
    rows = [r for r in published.timm_throughput() if (r["hardware"], r["torch_version"]) == ("RTX 4090", "2.9.1")]
    eager = {r["timm_name"]: r["img_per_s"] for r in rows if r["torch_compile"] == "no"}
    assert eager["inception_next_tiny"] / eager["convnext_tiny"] < 1


def test_networks_of_table_4_that_timm_lacks_have_their_accuracy_and_name_too() -> None:
    from benchbench.reports import names

    known = {"t2t_vit_14": 81.5, "pvt_large": 81.7, "focal_small": 83.5, "replknet_31b.merged": 83.5}
    for model, top1 in known.items():
        assert published.accuracy(model) == top1, model
    called = [names.network(model) for model in (*known, "pvt_medium", "pvt_small", "metanext_attn_small")]
    expected = ["T2T-ViT-14", "PVT-Large", "Focal-S", "RepLKNet-31B merged", "PVT-Medium", "PVT-Small", "MetaNeXt-Attn"]
    assert called == expected
    assert all(published.accuracy(model, img_size=384) for model in ("vit_base_patch16_384", "replknet_31b"))
