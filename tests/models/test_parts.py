"""Are the parts of a block what runs inside it, and do they make the block when put together?"""

from typing import Any

import pytest
import torch
from torch import Tensor

from benchbench.case import CASES, Skip, Workload
from benchbench.models.parts import BlockPart
from benchbench.plan import PLANS, all_points
from benchbench.sweeps import breakdown  # noqa: F401 (registers the case)
from benchbench.verify import check

pytestmark = pytest.mark.network


def workload(**changes: Any) -> Workload:
    params = {
        "model": "inception_next_tiny",
        "part": "block",
        "kernel_size": 5,
        "mlp_ratio": 2,
        "norm": "own",
        "shape": "16x6x6",
        "batch": 2,
        "precision": "fp32",
        "layout": "nchw",
        "mode": "train",
    }
    return CASES["block_part"].workload(params | changes)


def made(part: str, **changes: Any) -> BlockPart:
    state: BlockPart = workload(part=part, **changes).make("cpu")
    return state


@pytest.mark.parametrize("model", ["convnext_tiny", "inception_next_tiny"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_parts_one_after_another_make_the_block(model: str, layout: str) -> None:
    parts = {name: made(name, model=model, layout=layout, mode="infer") for name in ("block", "mixer", "norm", "mlp")}
    block = parts["block"]
    expected = block.infer()
    x: Tensor = block.x
    assert torch.equal(parts["mixer"].x, x)
    assert parts["mixer"].x.stride() == x.stride()
    torch.testing.assert_close(made("rest", model=model, layout=layout, mode="infer").infer(), expected)
    places = (0, 2, 3, 1) if model.startswith("convnext") else (0, 1, 2, 3)
    torch.testing.assert_close(parts["norm"].x, parts["mixer"].infer().permute(places))
    torch.testing.assert_close(parts["mlp"].x, parts["norm"].infer())


@pytest.mark.parametrize("model", ["convnext_tiny", "inception_next_tiny"])
def test_the_rest_gives_back_the_gradient_of_the_whole_block(model: str) -> None:
    block, rest = made("block", model=model), made("rest", model=model)
    names = [name for name, _ in block.module.named_parameters()]
    whole = dict(zip(["x", *names], block.train(), strict=True))
    assert [name for name, _ in rest.module.named_parameters()] == ["gamma"]
    for name, value in zip(("x", "gamma"), rest.train(), strict=True):
        torch.testing.assert_close(value, whole[name])


@pytest.mark.parametrize("part", ["block", "mixer"])
@pytest.mark.parametrize("mode", ["infer", "train"])
def test_mixer_and_block_are_compared_with_the_definition(part: str, mode: str) -> None:
    timed = workload(part=part, mode=mode)
    verdict = check(timed, timed.make("cpu"))
    assert verdict.ok, verdict.reason
    assert f"{part} output" in verdict.error


def test_norm_and_mlp_ratio_are_those_that_are_asked_for() -> None:
    widths = {ratio: made("mlp", mlp_ratio=ratio).module.fc1.out_channels for ratio in (2, 3)}
    assert widths == {2: 32, 3: 48}
    assert type(made("norm", norm="layer").module).__name__ == "LayerNorm2d"
    with pytest.raises(Skip, match="LayerNorm"):
        workload(model="convnext_tiny", norm="batch")


def test_the_plan_takes_both_blocks_apart_in_both_modes() -> None:
    points = [p for p in all_points(PLANS["breakdown"], device="cuda:0") if p.case == "block_part"]
    assert {(p.params["model"], p.params["kernel_size"]) for p in points} == {
        ("convnext_tiny", 7),
        ("inception_next_tiny", 11),
    }
    # Five parts, four stages, two precisions, two layouts and two modes of each block.
    assert len(points) == 2 * 5 * 4 * 2 * 2 * 2
