"""docs/findings.md is what results/ say: written by the script, and the same again."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchbench.plan import all_points, from_toml
from benchbench.record import Record, to_line
from benchbench.registry import register_cases

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("findings")


def test_the_committed_page_is_what_the_committed_runs_say(script: ModuleType) -> None:
    assert (ROOT / "docs" / "findings.md").read_text() == script.findings(ROOT / "results")


def point(backend: str, seconds: float, round_: int, **more: Any) -> Record:
    params = {"shape": "96x56x56", "mode": "forward", "precision": "bf16", "layout": "nchw", "backend": backend}
    work = {"bytes_read": 1000, "bytes_written": 1000, "flops": 10, "items": 1}
    samples = (seconds,) * 6
    key = f"inception_dwconv {backend}"
    return Record(key, "inception_dwconv", 1, params, "ok", round=round_, samples_s=samples, work=work, **more)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A made-up GPU with one run of two points in three rounds, a table of goals, and a step of tuning."""
    machine = tmp_path / "gpu-1"
    run = machine / "20270101-000000-0001"
    run.mkdir(parents=True)
    asked = {"schema": 1, "began": 0.0, "command": "bench sweep", "description": {"gpu": "GPU X", "torch": "9.9"}}
    (run / "run.json").write_text(json.dumps(asked))
    times = {"aten": 4e-3, "triton": 1e-3}
    records = [point(name, t * (1 + 0.001 * r), r) for name, t in times.items() for r in range(3)]
    copy = {"bytes_read": 1000, "bytes_written": 1000, "flops": 0, "items": 1}
    for r in range(3):
        records.append(
            Record("copy", "control_copy", 1, {"kibibytes": 1}, "ok", round=r, samples_s=(9e-4,) * 6, work=copy)
        )
    (run / "records.jsonl").write_text("".join(to_line(record) + "\n" for record in records))
    goal = {"goal": {"name": "G1", "text": "share of copy", "must": 0.9, "below": False}, "point": "s1 fp32 nchw"}
    goals = [{**goal, "value": 0.95, "low": 0.94, "high": 0.96, "reason": "", "verdict": "met"}]
    (machine / "kernels.json").write_text(json.dumps({"wrong": ["s1: error 1"], "goals": goals}))
    figures = [{"name": "copy warm over cold", "value": 1.4, "unit": "x", "holds": True}]
    (machine / "trust.json").write_text(json.dumps({"figures": figures, "tests_exit_status": 1}))
    (machine / "steps.csv").write_text("step,prediction,outcome,run\nwider loads,+5 %,+1 %,0001\n")
    return tmp_path


def test_ours_stand_beside_stock_with_the_ratio_and_the_share_of_the_copy(script: ModuleType, results: Path) -> None:
    page = script.findings(results)
    (row,) = [line for line in page.splitlines() if "4.00x" in line and line.startswith("| ")]
    assert row.endswith("| 89.9 % |"), "0.9 ms over 1.001 ms"
    assert "GPU X; torch 9.9." in page


def test_a_block_has_the_shares_of_its_parts_and_what_they_sum_to(script: ModuleType, results: Path) -> None:
    run = next(results.glob("gpu-1/*/records.jsonl"))
    params = {"model": "convnext_tiny", "shape": "96x56x56", "kernel_size": 7, "mode": "infer", "precision": "fp32"}
    parts = {"mixer": (1e-3,) * 3, "mlp": (3e-3,) * 3}
    block = Record("block", "block", 1, params, "ok", samples_s=(4.1e-3,) * 3, parts_s=parts)
    run.write_text(run.read_text() + to_line(block) + "\n")
    page = script.findings(results)
    (row,) = [line for line in page.splitlines() if line.startswith("| ConvNeXt-T/k7 block 96x56x56")]
    assert row == "| ConvNeXt-T/k7 block 96x56x56 | infer | 4.100 ms | 25.0 % | 75.0 % | 0.976 |"
    assert "#### Networks" not in page


def test_what_failed_is_on_the_page(script: ModuleType, results: Path) -> None:
    page = script.findings(results)
    assert "| - | s1: error 1 | a wrong answer |" in page
    assert "| tests marked gpu |  | FAIL |" in page
    assert "| wider loads | +5 % | +1 % | 0001 |" in page


def test_a_folder_without_runs_is_an_empty_heading(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "new-gpu").mkdir()
    assert script.findings(tmp_path).endswith("## new-gpu\n")


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "campaign").glob("*.toml")), ids=lambda path: path.stem)
def test_a_plan_of_the_campaign_asks_for_points_that_make_sense(path: Path) -> None:
    register_cases(())
    found = all_points(from_toml(path), device="cuda:0")
    assert sum(not point.skip for point in found) > len(found) / 2 > 10


def test_a_step_that_does_not_exist_stops_the_campaign_with_one_line(tmp_path: Path) -> None:
    command = ["benchmarks/campaign.sh", str(tmp_path), "tabel1"]
    environment = {**os.environ, "PYTHON": sys.executable}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "table1" in ended.stderr
    assert "Traceback" not in ended.stderr
