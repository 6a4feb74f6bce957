"""What is measured where nothing is said: on a GPU the batch and sizes of the paper, on a CPU small ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchbench.case import Case, Value


@dataclass(frozen=True, slots=True)
class Preset:
    """Values for the axes that the command line does not name, and how carefully the points are measured.

    policy: fields of timer.Policy. note: the line that says that this is no result for a paper; empty where it is one.
    only: keeps the points it accepts.
    """

    name: str
    rounds: int
    axes: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    budget_s: float | None = None
    note: str = ""
    only: Callable[[Case, Mapping[str, Value]], bool] | None = None


SMALL_STAGES = ("96x16x16", "192x8x8", "384x4x4", "768x2x2")
_SMALL: dict[str, tuple[Value, ...]] = {
    "batch": (2,),
    "img_size": (64,),
    "shape": SMALL_STAGES,
    "precision": ("fp32",),
    "layout": ("nchw",),
    "backend": ("aten",),
    # Flushing the last-level cache of a server before each of these small calls would take nearly all the time.
    "cache": ("warm",),
    "kibibytes": (256, 4096, 16384),
    "matrix_size": (256,),
}

FULL = Preset("full", rounds=3)

CPU = Preset(
    "cpu",
    rounds=2,
    axes=_SMALL,
    policy={"min_samples": 7, "half_width": 0.02, "time_cap_s": 0.25, "warmup_floor_s": 0.002, "warmup_cap_s": 0.05},
    budget_s=240.0,
    note="no GPU: batch 2, 64 px, fp32, nchw on the CPU, 2 rounds; figures are for trying the tool",
)


def _quick_points(case: Case, params: Mapping[str, Value]) -> bool:
    """Few networks and two stages, so that a quick look keeps its promise whatever sizes are named."""
    if case.kind != "network":
        return params.get("mode") != "backward"
    model, kernel_size = params.get("model"), params.get("kernel_size")
    if "ratio" in params and str(model).startswith("convnext"):
        return False
    return (model, kernel_size) in (
        ("convnext_tiny", 7),
        ("inception_next_tiny", 11),
        ("resnet50", None),
    )


QUICK_CPU = Preset(
    "quick-cpu",
    rounds=2,
    axes={**_SMALL, "shape": SMALL_STAGES[:2]},
    policy={"min_samples": 5, "half_width": 0.05, "time_cap_s": 0.05, "warmup_floor_s": 0.001, "warmup_cap_s": 0.02},
    note="quick look without a GPU: batch 2, 64 px, fp32, nchw, two stages, 2 rounds; figures are for trying the tool",
    only=_quick_points,
)

QUICK = Preset(
    "quick",
    rounds=2,
    axes={"shape": ("96x56x56", "192x28x28"), "precision": ("fp32",), "layout": ("nchw",)},
    policy={"min_samples": 20, "half_width": 0.01, "time_cap_s": 0.5, "warmup_cap_s": 0.5},
    budget_s=50.0,
    note="quick look: fp32, nchw, two stages, 2 rounds",
    only=_quick_points,
)

PRESETS = {preset.name: preset for preset in (FULL, CPU, QUICK, QUICK_CPU)}


def preset_for(device: str, *, quick: bool, name: str = "") -> Preset:
    """The preset of a device ("cpu", "cuda:0"), or the named one."""
    if name:
        return PRESETS[name]
    on_gpu = device.startswith("cuda")
    if quick:
        return QUICK if on_gpu else QUICK_CPU
    return FULL if on_gpu else CPU
