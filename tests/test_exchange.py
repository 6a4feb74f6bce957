"""Do other tools read what is exported, and is what they wrote read as it was meant?

Where a tool is installed (asv, pytest-benchmark, apache-otava), the tool itself reads the file; else its format, as its
sources and schemas describe it, is checked field by field.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbench import exchange
from benchbench.exchange import Run
from benchbench.exchange.pytest_benchmark import statistics_of
from benchbench.record import Record, from_line, to_line
from benchbench.stats import results

MACHINE = {
    "device": "cuda:0", "gpu": "NVIDIA H200", "gpu_uuid_hash": "0123456789abcdef", "gpu_memory_bytes": 150 << 30,
    "cpu": "AMD EPYC", "cpus": 16, "memory_bytes": 128 << 30, "os": "Linux", "kernel": "6.1", "architecture": "x86_64",
    "python": "3.11.7", "torch": "2.15.0+cu132", "torch_commit": "d0f2af8b", "cuda": "13.2", "cudnn": 92600,
    "triton": "3.9.0", "timm": "1.0.31", "driver": "580.65", "commit": "1234567890abcdef", "dirty_hash": "",
}  # fmt: skip


def record(round_: int = 0, **changes: Any) -> Record:
    params = {"kernel_size": 7, "shape": "96x56x56", "layout": "nchw", "batch": 128, "mode": "forward"}
    params |= changes.pop("params", {})
    case = changes.pop("case", "depthwise")
    key = f"{case}@1;" + ";".join(f"{name}={params[name]}" for name in sorted(params))
    samples = tuple(1e-3 * (1 + 0.01 * round_ + 0.001 * i) for i in range(5))
    fields: dict[str, Any] = {
        "status": "ok", "samples_s": samples, "host_samples_s": samples, "clock": "events", "warmup_class": "flat",
        "work": {"bytes_read": 1000, "bytes_written": 1000, "flops": 5000, "items": 128},
        "backend_ran": "forward Cudnn x1",
    }  # fmt: skip
    return Record(key=key, case=case, version=1, params=params, round=round_, **(fields | changes))


def network(round_: int, **changes: Any) -> Record:
    params = {"model": "convnext_tiny", "img_size": 224, "precision": "amp-fp16", "layout": "nhwc", "mode": "train"}
    return record(round_, case="network", params=params | changes.pop("params", {}), **changes)


def run(*more: Record, name: str = "run1", started: str = "2026-11-20T10:00:00+00:00") -> Run:
    records = [record(i) for i in range(3)] + [record(i, params={"kernel_size": 3}) for i in range(3)]
    failed = record(0, params={"kernel_size": 11}, status="oom", reason="out of memory", samples_s=())
    return Run(name, (*records, *[network(i) for i in range(3)], failed, *more), MACHINE, started)


def row_of(of: Run, key: str) -> Mapping[str, Any]:
    return next(row for row in results(of.records).to_dict("records") if row["key"] == key)


KEY = record().key


@pytest.mark.parametrize("name", sorted(exchange.EXPORTS))
def test_every_export_says_which_points_it_leaves_out_or_holds_them(name: str, tmp_path: Path) -> None:
    exported = exchange.export(name, [run()])
    assert exported.files
    told = "\n".join([*exported.left_out, *exported.files.values()])
    assert "kernel_size=11" in told
    assert "out of memory" in told
    for path in exchange.write(exported, tmp_path):
        assert path.read_text() in exported.files.values()


@pytest.mark.parametrize("name", sorted(exchange.EXPORTS))
def test_no_export_names_a_host_and_none_rounds(name: str) -> None:
    text = "\n".join(exchange.export(name, [run()]).files.values())
    assert "hostname" not in text
    if name not in ("timm", "bencher"):
        assert repr(float(row_of(run(), KEY)["median_s"])) in text


@pytest.mark.parametrize("name", sorted(set(exchange.EXPORTS) - {"csv"}))
def test_a_run_without_a_measured_point_is_one_line(name: str) -> None:
    failed = Run("r", (record(status="fail", samples_s=()),), MACHINE, "2026-11-20T10:00:00+00:00")
    with pytest.raises(ValueError, match="has no measured point: there is nothing to export"):
        exchange.export(name, [failed])


@pytest.mark.parametrize("name", sorted(set(exchange.EXPORTS) - {"csv", "otava"}))
def test_a_format_of_one_run_refuses_two(name: str) -> None:
    with pytest.raises(ValueError, match="takes one run, got 2"):
        exchange.export(name, [run(), run()])


def test_an_unknown_format_names_those_that_exist() -> None:
    with pytest.raises(ValueError, match="format 'xml' is none of asv, bencher, csv"):
        exchange.export("xml", [run()])


def test_github_action_benchmark_has_an_entry_a_point_in_a_file_a_direction() -> None:
    files = exchange.export("github-action-benchmark", [run()]).files
    smaller, bigger = (json.loads(files[f"{name}-is-better.json"]) for name in ("smaller", "bigger"))
    for entries in (smaller, bigger):
        assert len(entries) == 3
        for entry in entries:
            assert {name: type(entry[name]) for name in ("name", "unit", "value", "range", "extra")} == {
                "name": str, "unit": str, "value": float, "range": str, "extra": str
            }  # fmt: skip
    row = row_of(run(), KEY)
    entry = next(entry for entry in smaller if entry["name"] == KEY)
    assert entry["value"] == row["median_s"]
    assert float(entry["range"].removeprefix("± ")) == pytest.approx((row["high_s"] - row["low_s"]) / 2, rel=1e-5)


def test_an_interval_that_is_not_known_is_left_out() -> None:
    once = Run("r", (record(),), MACHINE)
    assert (
        "range" not in json.loads(exchange.export("github-action-benchmark", [once]).files["smaller-is-better.json"])[0]
    )
    assert list(json.loads(exchange.export("bencher", [once]).files["bencher.json"])[KEY]["latency"]) == ["value"]


def test_bencher_has_measures_of_numbers_with_bounds_around_them() -> None:
    document = json.loads(exchange.export("bencher", [run()]).files["bencher.json"])
    assert len(document) == 3
    for measures in document.values():
        assert set(measures) == {"latency", "throughput"}
        for metric in measures.values():
            assert metric["lower_value"] < metric["value"] < metric["upper_value"]
    assert document[KEY]["latency"]["value"] == pytest.approx(row_of(run(), KEY)["median_s"] * 1e9)


def test_tidy_csv_has_a_row_a_result_and_a_row_a_sample() -> None:
    files = exchange.export("csv", [run(), run(name="run2")]).files
    table = list(csv.DictReader(io.StringIO(files["results.csv"])))
    assert [row["run"] for row in table].count("run2") == 4
    assert [row["status"] for row in table].count("oom") == 2
    samples = list(csv.DictReader(io.StringIO(files["samples.csv"])))
    mine = [row for row in samples if (row["run"], row["key"], row["part"]) == ("run1", KEY, "call")]
    assert [float(row["seconds"]) for row in mine] == [s for i in range(3) for s in record(i).samples_s]


def test_tidy_csv_has_the_parts_of_a_block() -> None:
    apart = Run("r", (replace(record(), parts_s={"mixer": (2e-3, 1e-3)}),), MACHINE)
    files = exchange.export("csv", [apart]).files
    assert float(next(csv.DictReader(io.StringIO(files["results.csv"])))["part_mixer_s"]) == 1.5e-3
    samples = [row for row in csv.DictReader(io.StringIO(files["samples.csv"])) if row["part"] == "mixer"]
    assert [float(row["seconds"]) for row in samples] == [2e-3, 1e-3]


TABLE_V3 = {
    "schema_version": str, "timestamp": int, "name": str, "head_sha": str, "runners": list, "benchmark": dict,
    "model": dict, "inputs": dict, "dependencies": dict, "metric": dict,
}  # fmt: skip


def test_pytorch_hud_lines_have_the_fields_of_the_table_and_text_in_their_maps() -> None:
    lines = [
        json.loads(line) for line in exchange.export("pytorch-hud", [run()]).files["pytorch-hud.jsonl"].splitlines()
    ]
    assert len(lines) == 6
    for line in lines:
        assert {name: type(value) for name, value in line.items()} == TABLE_V3
        maps = [line[name]["extra_info"] for name in ("benchmark", "model", "metric")]
        assert all(isinstance(value, str) for found in maps for value in found.values())
        assert len(line["metric"]["benchmark_values"]) == 3
    modes = {(line["model"]["name"], line["benchmark"]["mode"]) for line in lines}
    assert modes == {("depthwise", "inference"), ("convnext_tiny", "training")}


def test_timm_tables_come_back_as_they_went() -> None:
    exported = exchange.export("timm", [run()])
    ((name, text),) = exported.files.items()
    assert name == "benchmark-train-amp-nhwc-pt2150-cu132-nvidia_h200.csv"
    assert text.splitlines()[0].startswith(
        "model,train_samples_per_sec,train_step_time,train_batch_size,train_img_size"
    )
    assert sum("timm's tables hold networks alone" in line for line in exported.left_out) == 2


def test_timm_tables_are_read_with_what_their_name_says(tmp_path: Path) -> None:
    trained = "model,train_samples_per_sec,train_step_time,train_batch_size,train_img_size,param_count"
    inferred = "model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size,param_count"
    for name, header in (
        ("benchmark-train-amp-nhwc-pt112-cu113-rtx3090", trained),
        ("benchmark-infer-amp-nchw-pt240-cu124-rtx4090-dynamo", inferred),
    ):
        mode = "train" if "train" in name else "infer"
        values = {"model": "tiny", f"{mode}_samples_per_sec": "1000.0", f"{mode}_step_time": "255.1",
                  f"{mode}_batch_size": "256", f"{mode}_img_size": "224", "param_count": "2.04"}  # fmt: skip
        path = tmp_path / f"{name}.csv"
        path.write_text(header + "\n" + ",".join(values[column] for column in header.split(",")) + "\n")
        (found,) = exchange.read(path)
        assert found.samples_s == (0.256,)
        assert found.params["mode"] == mode
        assert found.params["precision"] == "amp-fp16"
        assert found.params["compile"] == ("default" if "dynamo" in name else "eager")
        row = results([found]).to_dict("records")[0]
        assert row["throughput_img_per_s"] == pytest.approx(1000)
        assert math.isnan(row["bytes_per_s"])
        assert math.isnan(row["flops_per_s"])


HYPERFINE = {
    "results": [
        {"command": "sleep 0.1", "mean": 0.1, "times": [0.1, 0.11], "exit_codes": [0, 0], "parameters": {"n": "1"}},
        {"command": "false; x=1", "mean": 0.1, "times": [0.2], "exit_codes": [1]},
    ]
}
GOOGLE = {
    "context": {"date": "2026-11-20", "num_cpus": 8},
    "benchmarks": [
        {"name": "BM_copy/n:64/8", "run_name": "BM_copy/n:64/8", "run_type": "iteration", "iterations": 10,
         "real_time": 2.0, "cpu_time": 2.0, "time_unit": "us", "repetition_index": 0},
        {"name": "BM_copy/n:64/8", "run_name": "BM_copy/n:64/8", "run_type": "iteration", "iterations": 10,
         "real_time": 3.0, "cpu_time": 3.0, "time_unit": "us", "repetition_index": 1},
        {"name": "BM_copy/n:64/8_mean", "run_name": "BM_copy/n:64/8", "run_type": "aggregate", "aggregate_name": "mean",
         "real_time": 2.5, "cpu_time": 2.5, "time_unit": "us"},
        {"name": "BM_bad", "run_name": "BM_bad", "run_type": "iteration", "error_occurred": True,
         "error_message": "no device", "iterations": 0},
    ],
}  # fmt: skip


def nvbench(**state: Any) -> dict[str, Any]:
    axis = {"name": "BlockSize", "type": "int64", "value": "256"}
    states = [{"name": "Device=0", "device": 0, "axis_values": [axis], "is_skipped": False, "summaries": []} | state]
    return {"devices": [{"id": 0, "name": "H200"}], "benchmarks": [{"name": "copy", "axes": [], "states": states}]}


def summary(tag: str, **data: tuple[str, Any]) -> dict[str, Any]:
    return {"tag": tag, "data": [{"name": n, "type": kind, "value": str(value)} for n, (kind, value) in data.items()]}


def saved(folder: Path, document: Any, name: str = "result.json") -> Path:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_hyperfine_times_and_failures_are_read(tmp_path: Path) -> None:
    good, bad = exchange.read(saved(tmp_path, HYPERFINE))
    assert good.samples_s == (0.1, 0.11)
    assert good.params == {"n": "1", "command": "sleep 0.1"}
    assert (bad.status, bad.reason) == ("fail", "imported from hyperfine: exit code 1 in 1 of 1 runs")
    assert bad.key == "command@1;command=false, x:1"


def test_google_benchmark_repetitions_are_samples_and_aggregates_are_not(tmp_path: Path) -> None:
    copy, bad = exchange.read(saved(tmp_path, GOOGLE))
    assert copy.samples_s == pytest.approx((2e-6, 3e-6))
    assert (copy.case, copy.params) == ("BM_copy", {"n": "64", "argument1": "8"})
    assert (bad.status, bad.reason) == ("fail", "imported from google-benchmark: no device")


def test_nvbench_samples_are_read_from_the_file_beside(tmp_path: Path) -> None:
    (tmp_path / "result.json-bin").mkdir()
    samples = tmp_path / "result.json-bin" / "0.bin"
    samples.write_bytes(struct.pack("<3f", 1.0, 2.0, 4.0))
    listed = summary(
        "nv/json/bin:nv/cold/sample_times", filename=("string", "result.json-bin/0.bin"), size=("int64", 3)
    )
    path = saved(tmp_path, nvbench(summaries=[listed]))
    (found,) = exchange.read(path)
    assert found.samples_s == (1.0, 2.0, 4.0)
    assert found.params == {"BlockSize": "256", "device": 0}
    samples.write_bytes(struct.pack("<2f", 1.0, 2.0))
    with pytest.raises(ValueError, match=r"0\.bin has 2 samples, expected 3"):
        exchange.read(path)
    samples.write_bytes(b"12345")
    with pytest.raises(ValueError, match=r"0\.bin is torn"):
        exchange.read(path)


def test_nvbench_without_samples_gives_its_best_figure_and_says_so(tmp_path: Path) -> None:
    figures = {"mean": 3e-3, "median": 2e-3}
    summaries = [summary(f"nv/cold/time/gpu/{name}", value=("float64", value)) for name, value in figures.items()]
    (found,) = exchange.read(saved(tmp_path, nvbench(summaries=summaries)))
    assert found.samples_s == (2e-3,)
    assert found.reason == "imported from nvbench: one figure, nv/cold/time/gpu/median"
    (without,) = exchange.read(saved(tmp_path, nvbench()))
    assert (without.status, without.reason) == ("fail", "imported from nvbench: it has no time")


def test_results_of_one_name_are_rounds_of_one_point(tmp_path: Path) -> None:
    twice = {"results": [{"command": name, "times": [time]} for name, time in (("a", 1.0), ("b", 3.0), ("a", 2.0))]}
    found = exchange.read(saved(tmp_path, twice))
    assert [(r.params["command"], r.round, r.samples_s) for r in found] == [
        ("a", 0, (1.0,)), ("b", 0, (3.0,)), ("a", 1, (2.0,))
    ]  # fmt: skip


def test_a_skipped_state_of_nvbench_is_a_skip_with_its_reason(tmp_path: Path) -> None:
    skipped = nvbench(is_skipped=True, skip_reason="too large", summaries=None, axis_values=None)
    (found,) = exchange.read(saved(tmp_path, skipped))
    assert (found.status, found.reason) == ("skip", "imported from nvbench: too large")


@pytest.mark.parametrize("document", [HYPERFINE, GOOGLE, nvbench()], ids=["hyperfine", "google", "nvbench"])
def test_what_is_imported_is_marked_and_survives_a_line_of_json(tmp_path: Path, document: Any) -> None:
    for found in exchange.read(saved(tmp_path, document)):
        assert exchange.is_imported(found)
        assert found.clock == "imported"
        assert found.reason.startswith("imported from ")
        assert from_line(to_line(found)) == found
    assert not exchange.is_imported(record())


TIMM = "model,infer_samples_per_sec,infer_batch_size,infer_img_size\n"


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "", "looks like none of google-benchmark, hyperfine, nvbench, timm"),
        ("{}", "", "looks like none of"),
        ("a,b\n1,2\n", "", "looks like none of"),
        ("{", "hyperfine", "read as hyperfine"),
        ('{"results": [{"command": "x"}]}', "hyperfine", "is no hyperfine file: KeyError 'times'"),
        ('{"results": []}', "hyperfine", "it has no result"),
        (TIMM + "x,abc,1,224\n", "", "line 2: could not convert"),
        (TIMM + "x,0,1,224\n", "", "line 2: infer_samples_per_sec is 0"),
        ("model,infer_samples_per_sec\nx,10\n", "", "line 2: 'infer_batch_size'"),
        ("{}", "xml", "format 'xml' is none of google-benchmark, hyperfine, nvbench, timm"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, text: str, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        exchange.read(saved(tmp_path, text), name)
    assert "\n" not in str(caught.value)


def test_pooled_statistics_are_those_of_the_samples() -> None:
    found = statistics_of([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (found["min"], found["max"], found["median"], found["rounds"]) == (1.0, 100.0, 3.0, 5)
    assert (found["iqr_outliers"], found["ld15iqr"], found["hd15iqr"]) == (1, 1.0, 4.0)
    assert found["outliers"] == "1;1"
    assert found["ops"] == pytest.approx(5 / 110)
    assert statistics_of([2.0])["stddev"] == 0.0


def test_pytest_benchmark_itself_compares_an_export(tmp_path: Path) -> None:
    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
    (path,) = exchange.write(exchange.export("pytest-benchmark", [run()]), tmp_path)
    command = [sys.executable, "-m", "pytest_benchmark", "compare", str(path), "--csv", str(tmp_path / "out.csv")]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    table = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert len(table) == 3
    medians = {row["name"]: float(row["median"]) for row in table}
    pooled = [s for i in range(3) for s in record(i).samples_s]
    assert medians[f"benchbench::{KEY}"] == pytest.approx(sorted(pooled)[7])


def test_asv_itself_loads_an_export(tmp_path: Path) -> None:
    asv_results = pytest.importorskip("asv.results", reason="asv is not installed")
    from asv.benchmarks import Benchmarks
    from asv.config import Config

    exchange.write(exchange.export("asv", [run()]), tmp_path)
    config = Config()
    config.results_dir = str(tmp_path / "results")
    benchmarks = Benchmarks.load(config)
    assert sorted(benchmarks) == ["depthwise", "network"]
    (path,) = (tmp_path / "results").glob("*/12345678-*.json")
    loaded = asv_results.Results.load(str(path), machine_name=path.parent.name)
    assert loaded.commit_hash == MACHINE["commit"]
    values = loaded.get_result_value("depthwise", benchmarks["depthwise"]["params"])
    rows = [row for row in results(run().records).to_dict("records") if row["case"] == "depthwise"]
    assert [v for v in values if v is not None] == [row["median_s"] for row in rows if row["status"] == "ok"]
    stats = next(s for s in loaded.get_result_stats("depthwise", benchmarks["depthwise"]["params"]) if s)
    assert stats["ci_99_a"] < values[0] < stats["ci_99_b"]


def test_asv_refuses_a_run_without_a_commit_and_a_grid_that_is_nearly_empty() -> None:
    with pytest.raises(ValueError, match="knows no commit"):
        exchange.export("asv", [Run("r", (record(),), MACHINE | {"commit": None})])
    sparse = tuple(record(params={"a": i, "b": i, "c": i}) for i in range(60))
    with pytest.raises(ValueError, match="a grid of 216000 cells"):
        exchange.export("asv", [Run("r", sparse, MACHINE)])


def test_otava_itself_finds_the_series_of_an_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("otava", reason="apache-otava is not installed")
    runs = [run(name=f"run{i}", started=f"2026-11-{i + 10}T10:00:00+00:00") for i in range(5)]
    exchange.write(exchange.export("otava", runs[::-1]), tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTAVA_CONFIG", str(tmp_path / "otava.yaml"))
    ran = subprocess.run(
        [sys.executable, "-m", "otava.main", "analyze", KEY, "--since", "2026-01-01"], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert "median_s" in ran.stdout
    assert ran.stdout.count("run") >= 5


def test_otava_has_a_row_only_for_runs_with_the_point_and_in_the_order_of_time() -> None:
    first = run(record(params={"kernel_size": 5}), name="a", started="2026-11-02T10:00:00+00:00")
    later = run(name="b", started="2026-11-03T10:00:00+00:00")
    files = exchange.export("otava", [later, first]).files
    tables = [list(csv.DictReader(io.StringIO(text))) for name, text in files.items() if name.endswith(".csv")]
    assert sorted([row["run"] for row in table] for table in tables) == [["a"], ["a", "b"], ["a", "b"], ["a", "b"]]
    with pytest.raises(ValueError, match="does not say when it started"):
        exchange.export("otava", [run(started="")])
