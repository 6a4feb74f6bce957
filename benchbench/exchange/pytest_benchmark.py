"""pytest-benchmark's JSON (--benchmark-json), so that `pytest-benchmark compare` shows runs of this suite.

Its statistics are of all samples pooled, as that tool has them; the intervals between rounds, which are what counts
here, are in extra_info.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from benchbench.exchange.source import Export, Run, named, only, rows

# The version of pytest-benchmark whose format this is.
VERSION = "5.0.0"


def export(runs: Sequence[Run]) -> Export:
    """One file."""
    run = only(runs, "pytest-benchmark")
    found, left_out = rows(run)
    document = {
        "machine_info": _machine(run),
        "commit_info": {
            "id": run.known("commit", "unversioned"),
            "time": run.started or None,
            "author_time": None,
            "dirty": bool(run.description.get("dirty_hash")),
            "project": "benchbench",
            "branch": "(unknown)",
        },
        "benchmarks": [_benchmark(row) for row in found],
        "datetime": run.started,
        "version": VERSION,
    }
    return Export({"pytest-benchmark.json": json.dumps(document, indent=1) + "\n"}, left_out)


def _machine(run: Run) -> dict[str, Any]:
    """The machine as that format has it, without the name of the host."""
    return {
        "node": "",
        "processor": run.known("cpu"),
        "machine": run.known("architecture"),
        "python_compiler": "",
        "python_implementation": "CPython",
        "python_implementation_version": run.known("python"),
        "python_version": run.known("python"),
        "python_build": ["", ""],
        "release": run.known("kernel"),
        "system": run.known("os"),
        "cpu": {"brand_raw": run.known("cpu"), "count": run.description.get("cpus")},
        "gpu": run.known("gpu"),
        "torch": run.known("torch"),
    }


def _benchmark(row: dict[str, Any]) -> dict[str, Any]:
    params = dict(row["params"])
    extra = ("rounds", "low_s", "high_s", "within_spread", "between_spread", "throughput_img_per_s", "backend_ran")
    data = [seconds for record in row["records"] for seconds in record.samples_s]
    name = named(row)
    return {
        "group": row["case"],
        "name": name,
        "fullname": f"benchbench::{name}",
        "params": params,
        "param": name.partition("@")[2].partition(";")[2],
        "extra_info": {field: row[field] for field in extra},
        "options": {
            "disable_gc": False, "timer": "perf_counter", "min_rounds": 1, "max_time": 0.0, "min_time": 0.0,
            "warmup": True,
        },
        "stats": statistics_of(data),
    }  # fmt: skip


def statistics_of(data: Sequence[float]) -> dict[str, Any]:
    """The fields of that tool's stats, in seconds."""
    import numpy as np

    values = np.sort(np.asarray(data, dtype=np.float64))
    q1, median, q3 = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    mean, deviation = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    near = values[(values >= q1 - 1.5 * (q3 - q1)) & (values <= q3 + 1.5 * (q3 - q1))]
    far = int((np.abs(values - mean) > deviation).sum()) if len(values) > 1 else 0
    beyond = len(values) - len(near)
    return {
        "min": float(values[0]),
        "max": float(values[-1]),
        "mean": mean,
        "stddev": deviation,
        "rounds": len(values),
        "median": median,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": beyond,
        "stddev_outliers": far,
        "outliers": f"{far};{beyond}",
        "ld15iqr": float(near[0]),
        "hd15iqr": float(near[-1]),
        "ops": 1 / mean,
        "total": float(values.sum()),
        "data": [float(value) for value in data],
        "iterations": 1,
    }
