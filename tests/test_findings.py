"""docs/findings.md is what results/ say: written by the script, and the same again."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchbench.record import Record, to_line

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
    (machine / "kernels.json").write_text(
        json.dumps({"wrong": ["s1: error 1"], "unchecked": ["s4 fp16"], "goals": goals})
    )
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
    assert "| - | s1: error 1 | a wrong answer |  |  | WRONG |" in page
    assert "| - | s4 fp16 | the right answer |  | no time | not checked |" in page
    assert "| G1 | s1 fp32 nchw | share of copy | at least 0.90 | 0.950x (0.940-0.960) | met |" in page
    assert "| tests marked gpu |  | FAIL |" in page
    assert "| wider loads | +5 % | +1 % | 0001 |" in page


def test_a_cold_share_is_of_a_copy_beyond_the_cache_of_the_machine(script: ModuleType, results: Path) -> None:
    run = next(results.glob("gpu-1/*/run.json"))
    asked = json.loads(run.read_text())
    asked["description"]["gpu_l2_bytes"] = 1000
    run.write_text(json.dumps(asked))
    lines = run.with_name("records.jsonl")
    lines.write_text(lines.read_text().replace('"layout":"nchw"', '"layout":"nchw","cache":"cold"'))
    (row,) = [line for line in script.findings(results).splitlines() if "4.00x" in line and line.startswith("| ")]
    assert row.endswith("| 4.00x (3.99-4.01) | - |"), "its only copy moves no more than two caches"


def test_what_was_not_looked_at_is_not_on_the_page(script: ModuleType, results: Path) -> None:
    page = script.findings(results)
    assert not [word for word in ("Tests on the GPU", "compute-sanitizer", "Roofs and bytes") if word in page]


def test_each_failed_test_is_named_and_what_did_not_run_is_counted(script: ModuleType, results: Path) -> None:
    ended = {"passed": 970, "failed": 1, "skipped": 2, "not_run": 2, "seconds": 500.0}
    said = {"failures": [{"test": "tests/a.py::b", "error": "E  1 | 2"}], "skips": {"no second GPU": 2}}
    (results / "gpu-1" / "tests-1.json").write_text(json.dumps({**ended, **said}))
    page = script.findings(results)
    assert "### Tests on the GPU (tests-1.json)" in page
    assert "| passed | 970 |  |" in page
    assert "| not run | 2 |  |" in page
    assert "| FAIL | tests/a.py::b | E 1 \\| 2 |" in page
    assert "| skipped | 2 | no second GPU |" in page


def test_a_sanitizer_that_misses_the_planted_fault_says_nothing_of_the_others(
    script: ModuleType, results: Path
) -> None:
    counts = {"tool": "memcheck", "points": 32, "done": 31, "errors": 1, "warnings": 0}
    document = {"planted_errors": 0, "tools": [{**counts, "said": ["========= Invalid __global__ read"]}]}
    (results / "gpu-1" / "sanitize-1.json").write_text(json.dumps(document))
    page = script.findings(results)
    assert "| memcheck | a planted fault | NOT FOUND |  |  |" in page
    assert "| memcheck | 31 of 32 | 1 | 0 |  |" in page
    assert "| memcheck |  |  |  | Invalid __global__ read |" in page


def test_bytes_that_were_counted_stand_beside_those_that_were_traced(script: ModuleType, results: Path) -> None:
    rates = {"memory_roof_bytes_per_s": 4e12, "cache_roof_bytes_per_s": None, "fma_roof_flops_per_s": 6e13}
    share = {"mode": "forward", "least_bytes": 1000, "share_of_memory_roof": 0.5, **rates}
    points = [
        {"key": "ours", "name": "mixer, triton", "known_bytes": 1100, "provenance": "M1", **share},
        {"key": "stock", "name": "mixer, aten", "known_bytes": 5000.0, "provenance": "M2", **share},
    ]
    (results / "gpu-1" / "roofs-1.json").write_text(json.dumps(points))
    page = script.findings(results)
    assert "| memory | 4.000 TB/s |" in page
    assert "| mixer, triton | forward | 1.000 kB | 1.100 kB | - | - | - | 50.0 % |" in page
    run = next(results.glob("gpu-1/*/records.jsonl"))
    counters = [{"key": "ours", "provenance": "M4", "dram_bytes": 990.0}, {"key": "stock", "provenance": "M4"}]
    run.with_name("counters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in counters))
    page = script.findings(results)
    assert "| mixer, triton | forward | 1.000 kB | 1.100 kB | 990 B | 0.990x | 0.900x | 50.0 % |" in page
    assert "| mixer, aten | forward | 1.000 kB | - | - | - | - | 50.0 % |" in page


def test_a_folder_without_runs_is_an_empty_heading(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "new-gpu").mkdir()
    assert script.findings(tmp_path).endswith("## new-gpu\n")


def network(model: str, backend: str, seconds: float, round_: int, **more: Any) -> Record:
    params = {"model": model, "backend": backend, "precision": "amp-fp16", "layout": "nhwc", "compile": "eager"}
    params |= {"mode": "train", "kernel_size": 11 if model.startswith("inception") else 7, "batch": 128, **more}
    key = " ".join(map(str, params.values()))
    case = "inception_next" if model.startswith("inception") else "convnext"
    return Record(key, case, 1, params, "ok", round=round_, samples_s=(seconds * (1 + 0.001 * round_),) * 6)


def test_networks_are_held_against_their_goals_at_equal_settings(script: ModuleType, results: Path) -> None:
    run = next(results.glob("gpu-1/*/records.jsonl"))
    made = [
        record
        for r in range(3)
        for record in (
            network("inception_next_tiny", "aten", 0.12, r),
            network("inception_next_tiny", "triton", 0.08, r),
            network("inception_next_tiny", "triton-blocks", 0.11, r),
            network("inception_next_tiny", "triton", 0.01, r, layout="nchw"),
            network("inception_next_tiny", "triton", 0.04, r, mode="infer"),
            network("convnext_tiny", "aten", 0.04, r, mode="infer"),
        )
    ]
    run.write_text("".join(to_line(record) + "\n" for record in made))
    page = script.findings(results)
    goals = [line.split(" | ") for line in page.splitlines() if line.startswith("| G1")]
    found = [(cells[0][2:], cells[1], cells[3], cells[5][:4], cells[6]) for cells in goals if "amp-fp16" in cells[3]]
    at = "amp-fp16, nhwc, eager"
    assert found == [
        ("G15", "inception_next_tiny triton", f"train, {at}", "1.50", "met |"),
        ("G15", "inception_next_tiny triton-blocks", f"train, {at}", "1.09", "MISSED |"),
        ("G16", "inception_next_tiny triton", f"infer, {at}", "1.00", "MISSED |"),
    ]
    assert "triton-blocks, train, amp-fp16" in page, "the blocks stand beside stock, too"


def test_what_was_tuned_and_how_far_processes_differ_is_on_the_page(script: ModuleType, results: Path) -> None:
    machine = results / "gpu-1"
    place = {"stage": "s1", "dtype": "bf16", "layout": "nchw", "direction": "forward"}
    times = {"copy": [1.0] * 3, "rules": [2.0] * 3, "ROW_S=2": [1.5] * 3}
    left_out = {"COPY=512": "WRONG: error 1, allowed 0.1", "maxnreg=0": "no time to compile it"}
    tuned = {"place": place, "arch": 90, "left_out": left_out, "seconds": times, "again": times, "chosen": {"ROW_S": 2}}
    (machine / "tune-1.json").write_text(json.dumps([tuned]))
    needed = {"rounds_for_1%": 20, "rounds_for_2%": 8, "rounds_for_3%": 5, "rounds_for_5%": None}
    rows = [{"spread": s, "rounds": 5, "verdict": v, **needed} for s, v in ((0.01, "same"), (0.02, "slower"))]
    (machine / "aa-operators-1.json").write_text(json.dumps(rows))
    page = script.findings(results)
    assert "| s1 bf16 nchw forward | ROW_S=2 | 0.750 (at most 0.750) | 2 | 2 | COPY=512 |" in page
    assert "| 2 | 5 | 1.00 % | 1.00 % | 2.00 % | 20 | 8 | 5 | - | 1 |" in page


def test_a_winner_is_adopted_as_a_row_of_the_launch_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    tuner = importlib.import_module("tune_kernels")
    place = {"stage": "s1", "dtype": "bf16", "layout": "nchw", "direction": "forward"}
    times = {"rules": [2.0] * 3, "ROW_S=2": [1.5] * 3}
    document = [
        {"place": place, "arch": 90, "again": times, "chosen": {"ROW_S": 2}},
        {"place": place, "arch": 90, "again": times, "chosen": {}},
    ]
    (row,) = tuner.adopted(document, "tune-1")
    assert row == [90, "nchw", "forward", 2, 96, 56, 56, 12, 3, 11, "ROW_S=2", "0.750", "tune-1"]
