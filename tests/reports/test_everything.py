"""Do the charts of all networks show families, both recipes of ResNet-50, the Pareto front and the energy?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from benchbench import published
from benchbench.reports.energy import energy
from benchbench.reports.figure1 import figure1
from benchbench.reports.names import family, network
from benchbench.reports.save import save
from benchbench.reports.scatter import pareto
from benchbench.reports.spots import Spot

Row = Callable[..., dict[str, Any]]
Frame = Callable[..., pandas.DataFrame]


@pytest.fixture
def table4(network: Row) -> pandas.DataFrame:
    """Every timed network of Table 4 at twice the paper's speed, and two rivals."""
    models = {(p.model, p.img_size): p.train_img_per_s for p in published.paper_points() if p.table == 4}
    rows = [network(m, None, None, 2 * s, img_size=size) for (m, size), s in models.items() if s]
    rows += [network("mambaout_tiny", None, None, 1300.0), network("fasternet_s", None, None, 2600.0)]
    for number, row in enumerate(rows):
        joules = 0.1 + 0.05 * number
        row.update(joules_per_image=joules, joules_low_per_image=0.98 * joules, joules_high_per_image=1.02 * joules)
    return pandas.DataFrame(rows)


def spot(name: str, x: float, y: float) -> Spot:
    return Spot(name, "ResNet", (name, None, None), x, y)


def names(spots: list[Spot]) -> list[str]:
    return [one.label for one in spots]


def test_the_front_holds_what_nothing_beats_in_both_directions() -> None:
    spots = [
        spot("slow", 1, 84),
        spot("beaten", 1.5, 80),
        spot("middle", 2, 82),
        spot("fast", 9, 75),
        spot("twin", 2, 81),
    ]
    assert names(pareto(spots)) == ["slow", "middle", "fast"]


def test_the_front_of_costs_prefers_less() -> None:
    spots = [spot("dear", 9, 84), spot("cheap", 1, 80), spot("beaten", 5, 79), spot("fair", 4, 82)]
    assert names(pareto(spots, less_is_better=True)) == ["dear", "fair", "cheap"]


def test_equal_points_stand_on_the_front_once() -> None:
    assert names(pareto([spot("b", 1, 80), spot("a", 1, 80)])) == ["a"]
    assert pareto([]) == []


def test_every_network_of_table_4_is_drawn_with_both_recipes_of_resnet_50(table4: pandas.DataFrame) -> None:
    chart = figure1(table4, everything=True)
    ours = chart.data[chart.data["series"] == "measured"]
    assert ours["drawn"].all()
    resnets = ours[ours["model"] == "resnet50"]
    assert dict(zip(resnets["label"], resnets["accuracy_pct"], strict=True)) == {
        "ResNet-50": 78.4,
        "RSB-ResNet-50": 79.8,
    }
    assert set(ours.loc[ours["img_size"] == 384, "label"]) >= {"InceptionNeXt-B 384 px", "ConvNeXt-B 384 px"}
    assert any("Pareto" in note for note in chart.notes)
    assert chart.name == "figure1-all"


def test_the_papers_rows_of_resnet_50_are_named_apart(table4: pandas.DataFrame) -> None:
    data = figure1(table4, everything=True).data
    paper = data[(data["series"] == "paper") & (data["model"] == "resnet50")]
    assert dict(zip(paper["label"], paper["top1_pct"], strict=True)) == {"ResNet-50": 78.4, "RSB-ResNet-50": 79.8}


def test_sizes_of_a_family_are_joined_at_one_resolution_and_recipe(table4: pandas.DataFrame) -> None:
    panel = figure1(table4, everything=True, overlay=False).figure.axes[0]
    lines = [tuple(line.get_ydata()) for line in panel.lines if line.get_zorder() == 2]
    assert (84.0, 83.5, 82.3, 75.3) in lines
    assert (81.8, 81.3, 79.8) in lines


def test_sizes_of_a_family_are_joined_in_a_trial_at_small_images_too(table4: pandas.DataFrame) -> None:
    small = table4[table4["img_size"] == 224].assign(img_size=64)
    panel = figure1(small, everything=True, overlay=False).figure.axes[0]
    assert (84.0, 83.5, 82.3, 75.3) in [tuple(line.get_ydata()) for line in panel.lines if line.get_zorder() == 2]


def test_rivals_stand_at_what_timm_publishes_for_them(table4: pandas.DataFrame) -> None:
    data = figure1(table4, everything=True).data
    row = data[data["model"] == "mambaout_tiny"].iloc[0]
    assert (row["label"], row["top1_pct"]) == ("MambaOut-T", 82.742)


def test_energy_is_drawn_with_its_interval_and_no_overlay(table4: pandas.DataFrame, tmp_path: Path) -> None:
    chart = energy(table4)
    assert chart.figure.axes[0].get_xlabel() == "energy (J/image), tf32"
    assert set(chart.data["series"]) == {"measured"}
    assert len(chart.figure.axes[0].containers) == len(chart.data)
    save(chart, tmp_path, formats=("svg",))


def test_without_an_energy_counter_the_chart_says_so(networks: pandas.DataFrame) -> None:
    chart = energy(networks)
    assert any("no energy was measured" in note for note in chart.notes)
    assert any("no energy was measured" in note for note in energy(pandas.DataFrame()).notes)
    with pytest.raises(ValueError, match="train or infer"):
        energy(networks, x="both")


def test_a_network_without_an_energy_is_named(table4: pandas.DataFrame) -> None:
    table4.loc[table4["model"] == "mambaout_tiny", "joules_per_image"] = None
    assert any("Without an energy, in the table only: MambaOut-T." in note for note in energy(table4).notes)


@pytest.mark.parametrize(
    ("model", "name", "kin"),
    [
        ("mambaout_small", "MambaOut-S", "MambaOut"),
        ("convformer_s18", "ConvFormer-S18", "ConvFormer"),
        ("resnet34", "ResNet-34", "ResNet"),
        ("resnet101", "ResNet-101", "ResNet"),
        ("convnext_tiny.fb", "ConvNeXt-T FB", "ConvNeXt"),
        ("upernet.inception_next_small", "UperNet InceptionNeXt-S", "upernet.inception"),
        ("semantic_fpn.resnet50c", "Semantic FPN ResNet-50C", "semantic"),
        ("replknet_31b.merged", "RepLKNet-31B merged", "RepLKNet"),
        ("convnextv2_tiny", "ConvNeXt V2-T", "ConvNeXt V2"),
        ("inception_next_tiny", "InceptionNeXt-T", "InceptionNeXt"),
        ("my_net_2", "my_net_2", "my"),
        ("module:function", "module:function", "module:function"),
    ],
)
def test_a_network_is_called_what_its_authors_call_it(model: str, name: str, kin: str) -> None:
    assert network(model) == name
    assert family(model) == kin
