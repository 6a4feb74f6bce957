"""The script that judges the kernels on a GPU: its arithmetic on made-up seconds, its line where there is none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def goals() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kernel_goals", BENCHMARKS / "kernel_goals.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kernel_goals"] = module
    spec.loader.exec_module(module)
    return module


def seconds(goals: ModuleType, speed: float) -> tuple[dict, dict, dict]:  # type: ignore[type-arg]
    """Rounds in which ours takes 1 / speed of the copy and stock twenty times as long as the copy."""
    mixers = {}
    for stage in goals.STAGES:
        for dtype, size in goals.ITEMSIZE.items():
            for layout in goals.LAYOUTS:
                found = {}
                for end in ("", " backward", " amp", " statistics"):
                    found |= {
                        "ours" + end: [size / speed] * 3,
                        "copy" + end: [size] * 3,
                        "stock" + end: [20 * size] * 3,
                    }
                mixers[f"{stage} {dtype} {layout}"] = found
    compiled = {f"{stage} bf16 nchw": mixers[f"{stage} bf16 nchw"] | {
        "compiled": [40.0] * 3, "compiled backward": [40.0] * 3} for stage in goals.COMPILED_STAGES}  # fmt: skip
    weights = {dtype: {"ours": [1.0] * 3, "stock": [20.0] * 3} for dtype in ("fp32", "bf16")}
    return mixers, compiled, weights


def test_kernels_at_copy_speed_meet_every_goal(goals: ModuleType) -> None:
    results = goals.judged(*seconds(goals, 1.0))
    assert {one.verdict for one in results} == {"met"}
    assert {one.goal.name for one in results} == {f"G{k}" for k in range(1, 14)}
    assert "0 MISSED, 0 not measured" in goals.printed(results)


def test_kernels_at_half_of_copy_speed_miss_every_share_and_no_cliff_is_seen(goals: ModuleType) -> None:
    results = goals.judged(*seconds(goals, 0.5))
    missed = {one.goal.name for one in results if one.verdict == "MISSED"}
    assert missed == {"G1", "G2", "G3", "G4", "G5"}
    assert next(one.value for one in results if one.goal.name == "G2") == pytest.approx(0.5)


def test_one_slow_layout_is_a_cliff(goals: ModuleType) -> None:
    mixers, compiled, weights = seconds(goals, 1.0)
    mixers["s2 bf16 nhwc"]["ours"] = [2.6] * 3
    results = goals.judged(mixers, compiled, weights)
    assert [one.point for one in results if one.goal.name == "G12" and one.verdict == "MISSED"] == ["s2"]


def test_what_was_not_measured_is_neither_met_nor_missed(goals: ModuleType) -> None:
    results = goals.judged({}, {}, {})
    assert {one.verdict for one in results} == {"not measured"}
    assert "0 met, 0 MISSED" in goals.printed(results)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_script_says_so_and_exits_4() -> None:
    ran = subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu_kernels.py")], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 4
    assert ran.stdout == ""
    assert ran.stderr.strip() == "no CUDA device: gpu_kernels.py measures on an NVIDIA GPU"
