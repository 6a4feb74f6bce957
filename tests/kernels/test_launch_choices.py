"""Launches that overrule the rules: which are tried, which win, what does a measured one change, are they right?"""

from __future__ import annotations

import importlib
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from benchbench.kernels.inception_dwconv import launch_table
from benchbench.kernels.inception_dwconv.launch import Plan, plan
from benchbench.kernels.inception_dwconv.operation import BACKWARD, FORWARD

FP32, BF16 = torch.float32, torch.bfloat16
STAGES = ((96, 56, 56), (192, 28, 28), (384, 14, 14), (768, 7, 7))
LAYOUTS = ("nchw", "nhwc")


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("launch_choices")


@pytest.mark.parametrize(("layout", "direction"), list(product(LAYOUTS, ("forward", "statistics", "backward"))))
def test_every_launch_that_is_tried_has_a_plan_that_differs_from_the_rules(
    choices: ModuleType, layout: str, direction: str
) -> None:
    for stage, dtype in product(STAGES, (FP32, BF16)):
        rules = plan((128, *stage), dtype, layout, direction=direction, choices={})
        tried = choices.neighbours(rules)
        assert len(tried) > 4
        for chosen in tried:
            made = plan((128, *stage), dtype, layout, direction=direction, choices=chosen)
            assert (made.constants, made.options) != (rules.constants, rules.options), chosen


@pytest.mark.parametrize("wrong", [{"ROW_PLANE": 3}, {"SHARE_ROW": 7}, {"nothing": 1}], ids=str)
def test_a_choice_that_the_planner_does_not_leave_open_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="is no choice of nchw forward"):
        plan((128, 96, 56, 56), FP32, choices=wrong)


def test_a_row_of_the_table_decides_for_its_shape_architecture_and_type_at_every_batch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = "90,nchw,forward,2,96,56,56,12,3,11,ROW_S=2 maxnreg=0,0.9,a run"
    (tmp_path / launch_table.FILE).write_text(",".join(launch_table.COLUMNS) + "\n" + row + "\n")
    monkeypatch.setattr(launch_table, "files", lambda package: tmp_path)
    launch_table.rows.cache_clear()
    try:
        found = plan((7, 96, 56, 56), BF16)
        others = [plan((7, 96, 56, 56), BF16, arch=100), plan((7, 96, 56, 56), FP32), plan((7, 96, 28, 28), BF16)]
        rules = plan((7, 96, 56, 56), BF16, choices={})
    finally:
        launch_table.rows.cache_clear()
    assert (found.constants["ROW_S"], found.maxnreg) == (2, None)
    assert rules.constants["ROW_S"] != 2
    assert all(other.maxnreg for other in [*others, rules])


def test_the_shipped_table_has_the_columns_that_are_read_and_written_and_rows_that_can_be_planned() -> None:
    header = (Path(launch_table.__file__).parent / launch_table.FILE).read_text().splitlines()[0]
    assert header.split(",") == list(launch_table.COLUMNS)
    for key, chosen in launch_table.rows().items():
        arch, layout, direction, itemsize, channels, height, width, branch, square, band = key
        dtype, sizes = (FP32 if itemsize == "4" else BF16), (int(channels), int(height), int(width))
        kernels = {"branch": int(branch), "square": int(square), "band": int(band)}
        made = plan((128, *sizes), dtype, layout, int(arch), direction=direction, **kernels)
        assert made == plan((128, *sizes), dtype, layout, int(arch), direction=direction, choices=chosen, **kernels)


def test_what_gained_in_every_round_wins_and_is_tried_together(choices: ModuleType) -> None:
    times = {
        "rules": [1.0, 2.0, 1.0],
        "ROW_S=2": [0.9, 1.8, 0.9],
        "ROW_S=8": [0.8, 1.6, 1.2],
        "COPY=2048": [0.95, 1.9, 0.97],
        "maxnreg=0": [0.995, 1.99, 0.995],
    }
    tried = [{}, {"ROW_S": 2}, {"ROW_S": 8}, {"COPY": 2048}, {"maxnreg": 0}, {"COPY": 4096}]
    assert choices.winners(times, tried) == {"ROW_S": 2, "COPY": 2048}
    assert choices.best(times, tried) == {"ROW_S": 2}
    together = {"ROW_S": 2, "COPY": 2048}
    assert choices.best(times | {"ROW_S=2 COPY=2048": [0.85, 1.7, 0.85]}, [*tried, together]) == together
    assert choices.best({"rules": [1.0], "COPY=2048": [1.0]}, tried) == {}


def launched(made: Plan, x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> list[Tensor]:
    if made.direction == "forward":
        return [FORWARD[made.layout](x, weights, biases, made, x.dtype)]
    grad_x, grads_w, grads_b = BACKWARD[made.layout](x, x.flip(0), weights, made)
    return [grad_x, *grads_w, *grads_b]


SLOW = pytest.mark.slow


@pytest.mark.interpreter
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("direction", ["forward", pytest.param("backward", marks=SLOW)])
def test_every_launch_that_is_tried_gives_what_the_rules_give(
    choices: ModuleType, layout: str, direction: str, device: str
) -> None:
    """Of small whole numbers, whose sums are exact in whatever order."""
    made = torch.Generator().manual_seed(0)
    memory_format = torch.contiguous_format if layout == "nchw" else torch.channels_last

    def whole(*size: int) -> Tensor:
        return torch.randint(-4, 5, size, generator=made).float().to(device)

    x = whole(2, 16, 16, 16).contiguous(memory_format=memory_format)
    weights = [whole(2, 1, *size) for size in ((3, 3), (1, 11), (11, 1))]
    biases = [whole(2) for _ in weights]

    def found(chosen: dict[str, int]) -> list[Tensor]:
        return launched(plan(x.shape, FP32, layout, direction=direction, choices=chosen), x, weights, biases)

    wanted = found({})
    for chosen in choices.neighbours(plan(x.shape, FP32, layout, direction=direction, choices={})):
        assert all(map(torch.equal, found(chosen), wanted)), chosen
