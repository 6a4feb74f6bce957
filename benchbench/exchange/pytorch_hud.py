"""PyTorch's benchmark database, version 3 (table oss_ci_benchmark_v3 of pytorch/test-infra): JSON lines, one a metric.

Maps of extra_info hold text alone; benchmark_values are the medians of the rounds, which is what the table's list of
several runs is for. Workflow, job and branch are filled in by the upload.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from statistics import median
from typing import Any

from benchbench.exchange.source import Export, Run, only, rows

GIB = 1 << 30
TRAINING = ("train", "backward", "forward_backward")


def export(runs: Sequence[Run]) -> Export:
    """One file with a line for seconds and, where images are counted, one for images a second."""
    run = only(runs, "pytorch-hud")
    found, left_out = rows(run)
    lines = [json.dumps(line, separators=(",", ":")) for row in found for line in _lines(run, row)]
    return Export({"pytorch-hud.jsonl": "\n".join(lines) + "\n"}, left_out)


def _lines(run: Run, row: dict[str, Any]) -> list[dict[str, Any]]:
    params = row["params"]
    medians = [median(record.samples_s) for record in row["records"]]
    metrics = {"latency_s": medians}
    if row["items"] is not None:
        metrics["throughput_img_per_s"] = [row["items"] / value for value in medians]
    mode = str(params.get("mode", "forward"))
    common = {
        "schema_version": "v3",
        "timestamp": _epoch(run.started),
        "name": "benchbench",
        "head_sha": run.known("commit"),
        "runners": [_runner(run)],
        "benchmark": {
            "name": "benchbench",
            "mode": "training" if mode in TRAINING else "inference",
            "dtype": str(params.get("precision", "")),
            "extra_info": {"key": row["key"], "arm": row["arm"], "run": run.name},
        },
        "model": {
            "name": str(params.get("model", row["case"])),
            "type": "OSS model" if "model" in params else "custom layer",
            "backend": row["backend_ran"] or "",
            "origins": [],
            "extra_info": {name: str(value) for name, value in params.items()},
        },
        "inputs": {},
        "dependencies": _dependencies(run),
    }
    extra = {"low_s": str(row["low_s"]), "high_s": str(row["high_s"]), "warmup_class": str(row["warmup_class"])}
    return [
        common | {"metric": {"name": name, "benchmark_values": values, "target_value": 0.0, "extra_info": extra}}
        for name, values in metrics.items()
    ]


def _runner(run: Run) -> dict[str, Any]:
    gpu = run.known("gpu")
    return {
        "name": "",
        "type": gpu or run.known("cpu"),
        "cpu_info": run.known("cpu"),
        "cpu_count": int(run.description.get("cpus") or 0),
        "mem_info": "",
        "avail_mem_in_gb": int(run.description.get("memory_bytes") or 0) // GIB,
        "gpu_info": gpu,
        "gpu_count": 1 if gpu else 0,
        "gpu_mem_info": "",
        "avail_gpu_mem_in_gb": int(run.description.get("gpu_memory_bytes") or 0) // GIB,
        "extra_info": {"driver": run.known("driver"), "cuda": run.known("cuda"), "cudnn": run.known("cudnn")},
    }


def _dependencies(run: Run) -> dict[str, Any]:
    repositories = {
        "torch": "pytorch/pytorch",
        "triton": "triton-lang/triton",
        "timm": "huggingface/pytorch-image-models",
    }
    return {
        name: {
            "repo": repository,
            "branch": "",
            "sha": run.known("torch_commit") if name == "torch" else "",
            "version": run.known(name),
            "extra_info": {},
        }
        for name, repository in repositories.items()
    }


def _epoch(started: str) -> int:
    return int(datetime.fromisoformat(started).timestamp()) if started else 0
