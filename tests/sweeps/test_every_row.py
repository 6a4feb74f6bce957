"""Does every row of every plan train and infer, two small images at a time, as the CPU preset asks for it?

The smallest network of each kind is in `make test`; the others, RepLKNet and the heads of segmentation among them, are
slow.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from benchbench import sweeps  # noqa: F401 (registers the cases)
from benchbench.case import CASES, Value
from benchbench.commands.sweep import plan_of
from benchbench.plan import PLANS, Point, all_points
from benchbench.sweeps.presets import CPU

pytestmark = pytest.mark.network

# One of each kind of network that a row is about, whatever its size and settings.
QUICK = frozenset(
    {
        "convnext_atto/k7",
        "convnext_tiny.fb/k3/r1/8",
        "convnext_iso_small",
        "convformer_s18.inception",
        "deit_small_patch16_224",
        "efficientnet_b0",
        "focal_tiny",
        "focalnet_tiny_lrf",
        "ghostnet_130",
        "inception_next_atto/k9/r1/4",
        "inception_next_tiny.layer_norm",
        "inception_next_tiny/96x16x16/k11",
        "convnext_tiny/96x16x16/k7",
        "metanext_attn_small",
        "mobilenetv2_140",
        "poolformer_s12",
        "pvt_medium",
        "regnety_040",
        "resnet50",
        "swin_tiny_patch4_window7_224",
        "swin_tiny_patch4_window7_224.inception",
        "t2t_vit_14",
        "tnt_s_patch16_224",
    }
)


def name_of(params: Mapping[str, Value]) -> str:
    """A row's network and what was chosen for it, on one image size and batch."""
    parts = [str(params["model"])]
    parts += [str(params["shape"])] if "shape" in params else []
    parts += [f"k{params['kernel_size']}"] if "kernel_size" in params else []
    parts += [f"r{params['ratio']}"] if "ratio" in params else []
    return "/".join(parts)


def rows() -> dict[str, list[Point]]:
    """The points of every plan as the CPU preset has them, by row: training before inference."""
    found: dict[str, dict[str, Point]] = {}
    for name in PLANS:
        for point in all_points(plan_of(name, (), (), {}, CPU), device="cpu"):
            if CASES[point.case].kind == "network":
                found.setdefault(name_of(point.params), {})[point.key] = point
    return {
        name: sorted(points.values(), key=lambda p: str(p.params["mode"]), reverse=True)
        for name, points in found.items()
    }


ROWS = rows()
MARKED = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in ROWS]


def test_the_quick_ones_are_rows() -> None:
    assert set(ROWS) >= QUICK
    assert not any(name.startswith(("replknet", "upernet")) for name in QUICK)


def test_every_row_is_asked_for_in_training_and_in_inference_at_the_presets_size() -> None:
    modes = {name: {point.params["mode"] for point in points} for name, points in ROWS.items()}
    assert modes.pop("replknet_31b") == {"train"}
    assert modes.pop("replknet_31b.merged") == {"infer"}
    assert {frozenset(found) for found in modes.values()} == {frozenset({"infer", "train"})}
    assert {point.params.get("img_size", 64) for points in ROWS.values() for point in points} == {64}
    assert [point.key for points in ROWS.values() for point in points if point.skip] == []


@pytest.mark.parametrize("name", MARKED)
def test_it_trains_a_step_and_infers(name: str) -> None:
    for point in ROWS[name]:
        workload = CASES[point.case].workload(point.params)
        found = workload.call(workload.make("cpu"))
        for tensor in found if isinstance(found, tuple) else (found,):
            assert tensor.isfinite().all()
        if "img_size" in point.params:
            assert found.shape == expected(point.params)


def expected(params: Mapping[str, Any]) -> tuple[int, ...]:
    """A loss; or logits, for every pixel where the network segments."""
    if params["mode"] == "train":
        return ()
    if "aspect" not in params:
        return params["batch"], 1000
    return params["batch"], 150, params["img_size"], params["aspect"] * params["img_size"]
