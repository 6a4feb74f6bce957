"""Is every row of the paper planned, once, under the paper's conditions?"""

import pytest

from benchbench import published, sweeps  # noqa: F401 (registers the cases)
from benchbench.case import CASES
from benchbench.commands.sweep import plan_of
from benchbench.plan import PLANS, all_points
from benchbench.sweeps import paper
from benchbench.sweeps.presets import CPU


def planned(name: str) -> list[dict[str, object]]:
    points = all_points(PLANS[name], device="cuda:0")
    return [dict(point.params) | {"case": point.case} for point in points if CASES[point.case].kind == "network"]


@pytest.mark.parametrize("name", [plan.name for plan in (*paper.PLANS, paper.PAPER, paper.INSIDE, paper.RIVALRY)])
def test_every_plan_asks_for_points_that_make_sense(name: str) -> None:
    points = all_points(PLANS[name], device="cuda:0")
    assert [point.key for point in points if point.skip] == []
    assert any(CASES[point.case].kind == "control" for point in points)


@pytest.mark.parametrize("table", sorted(paper.ROWS))
def test_every_row_of_a_table_is_planned_in_both_modes_and_layouts(table: int) -> None:
    points = planned(f"table{table}")
    for row in paper.ROWS[table]:
        named = {"case": row.case, "model": row.model, "img_size": row.img_size}
        named |= {"kernel_size": row.kernel_size} if row.kernel_size else {}
        named |= {"ratio": row.ratio} if row.ratio else {}
        mine = [point for point in points if named.items() <= point.items()]
        modes = {row.mode} if row.mode else {"infer", "train"}
        assert {(p["mode"], p["layout"]) for p in mine} == {
            (m, layout) for m in modes for layout in ("nchw", "nhwc")
        }, row
        assert len(mine) == 2 * len(modes)


def test_every_row_of_the_published_tables_is_there() -> None:
    labels = {table: {row.label for row in rows} for table, rows in paper.ROWS.items()}
    assert {str(row["model"]) for row in published.table(4)} == labels[4]
    assert {str(row["model"]) for row in published.table(5)} == labels[5]
    ratios = {(row["kernel_size"], str(row["conv_ratio"])) for row in published.table(1)}
    assert ratios == {(row.kernel_size, row.ratio or "1") for row in paper.TABLE_1}
    assert len(published.table(8)) == len(paper.TABLE_8)


def test_the_conditions_are_the_papers() -> None:
    for point in planned("table4"):
        assert (point["precision"], point["batch"], point["compile"]) == ("tf32", 128, "eager")
        assert (point["drop_path"], point["backend"], point["optimizer"]) == ("own", "aten", "sgd")
        assert point.get("attention", "explicit") == "explicit"


def test_networks_that_two_rows_share_are_measured_once() -> None:
    points = [p for p in planned("table4") if p["model"] == "resnet50"]
    assert len(points) == 4
    keys = [point.key for point in all_points(PLANS["paper"], device="cuda:0")]
    assert len(keys) == len(set(keys))


def test_the_tables_of_segmentation_name_each_backbone_of_the_paper() -> None:
    for table, head in ((6, "upernet"), (7, "semantic_fpn")):
        models = {str(point["model"]) for point in planned(f"table{table}")}
        assert len(models) == len(published.table(table))
        assert all(model.startswith(f"{head}.") for model in models)


def test_a_small_preset_tries_a_plan_out_and_the_command_line_wins_over_both() -> None:
    tried = all_points(plan_of("table4", (), (), {}, CPU), device="cpu")
    settings = {(p.params["precision"], p.params["batch"], p.params["img_size"]) for p in tried if "model" in p.params}
    assert settings == {("fp32", 2, 64)}
    named = all_points(plan_of("table 4", (), ("inception_next*",), {"batch": (8,)}, CPU), device="cpu")
    networks = [point for point in named if "model" in point.params]
    assert {p.params["batch"] for p in networks} == {8}
    assert {p.params["model"] for p in networks} == {f"inception_next_{s}" for s in ("atto", "tiny", "small", "base")}


@pytest.mark.parametrize(
    ("word", "cases"),
    [
        ("convnext_small", {"convnext", "convnext_partial"}),
        ("convnext_tiny.fb", {"convnext", "convnext_partial"}),
        ("upernet.convnext_tiny", {"segmentation"}),
        ("pvt_small", {"network"}),
        ("inception_next*", {"inception_next"}),
    ],
)
def test_a_named_network_goes_to_the_cases_that_know_it(word: str, cases: set[str]) -> None:
    points = [point for point in all_points(plan_of("", (), (word,), {}, CPU), device="cpu") if "model" in point.params]
    assert {point.case for point in points} == cases
    assert {point.params["model"] for point in points} == {word.replace("*", "_tiny")}


def test_every_rival_has_a_published_accuracy_and_is_measured_as_the_paper_measured() -> None:
    points = planned("rivals")
    assert {str(point["model"]) for point in points} == set(paper.RIVALS)
    assert all(published.accuracy(name) for name in paper.RIVALS)
    assert {(p["precision"], p["batch"], p["attention"]) for p in points} == {("tf32", 128, "explicit")}
