"""airspeed velocity: a folder of results that `asv publish` and `asv show` read (results format 2).

A benchmark of asv has a full grid of parameters; points that were not measured are null in it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from benchbench.exchange.source import Export, Run, only, rows

COLUMNS = (
    "result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b", "stats_q_25",
    "stats_q_75", "stats_number", "stats_repeat", "samples", "profile",
)  # fmt: skip
# A grid of more cells than this is mostly empty, and asv slow.
CELLS = 100_000


def export(runs: Sequence[Run]) -> Export:
    """The files of one commit on one machine. Raises ValueError where the run knows no commit."""
    run = only(runs, "asv")
    commit = run.known("commit")
    if not commit:
        raise ValueError(f"run {run.name} knows no commit, and asv orders results by commit")
    # asv draws intervals of 99 %.
    found, left_out = rows(run, level=0.99)
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        groups.setdefault(row["case"] + (f".arm_{row['arm']}" if row["arm"] else ""), []).append(row)
    machine = _machine(run)
    benchmarks: dict[str, Any] = {"version": 2}
    results: dict[str, Any] = {}
    for name, group in groups.items():
        names, values = _grid(name, group)
        benchmarks[name] = _benchmark(name, group[0], names, values)
        results[name] = _columns(run, group, names, values)
    environment = _slug(f"torch{run.known('torch')}-py{run.known('python')}")
    document = {
        "version": 2,
        "commit_hash": commit,
        "env_name": environment,
        "date": _milliseconds(run),
        "params": {key: value for key, value in machine.items() if key != "version"} | {"python": run.known("python")},
        "python": run.known("python"),
        "requirements": {"torch": run.known("torch"), "triton": run.known("triton"), "timm": run.known("timm")},
        "env_vars": {},
        "result_columns": list(COLUMNS),
        "results": results,
        "durations": {},
    }
    folder = f"results/{machine['machine']}"
    files = {
        "results/benchmarks.json": benchmarks,
        f"{folder}/machine.json": machine,
        f"{folder}/{commit[:8]}-{environment}.json": document,
    }
    return Export({name: json.dumps(content, indent=1) + "\n" for name, content in files.items()}, left_out)


def _machine(run: Run) -> dict[str, Any]:
    """A name that says what it is and tells one from another, and is no host's."""
    what = run.known("gpu") or run.known("cpu", "unknown")
    told = hashlib.sha256(run.known("gpu_uuid_hash", what).encode()).hexdigest()[:6]
    return {
        "machine": f"{_slug(what)}-{told}",
        "arch": run.known("architecture"),
        "cpu": run.known("cpu"),
        "num_cpu": run.known("cpus"),
        "os": f"{run.known('os')} {run.known('kernel')}".strip(),
        "ram": run.known("memory_bytes"),
        "gpu": run.known("gpu"),
        "version": 1,
    }


def _grid(case: str, group: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The names of the axes and the values of each, as asv writes them: the text that Python would."""
    import numpy as np

    points = [row["params"] for row in group]
    names = sorted({name for params in points for name in params})
    values = [list(dict.fromkeys(repr(params.get(name)) for params in points)) for name in names]
    cells = int(np.prod([len(axis) for axis in values], dtype=np.float64))
    if cells > CELLS:
        raise ValueError(f"{case} would be a grid of {cells} cells in asv, at most {CELLS}: export fewer axes")
    return names, values


def _benchmark(name: str, row: dict[str, Any], names: list[str], values: list[list[str]]) -> dict[str, Any]:
    return {
        "name": name,
        "pretty_name": name,
        "type": "time",
        "unit": "seconds",
        "version": str(row["version"]),
        "param_names": names,
        "params": values,
        "code": f"bench sweep: {row['case']}",
        "timeout": 60.0,
        "number": 0,
        "repeat": 0,
        "rounds": 2,
        "sample_time": 0.01,
        "warmup_time": -1,
        "min_run_count": 2,
    }


def _columns(run: Run, group: list[dict[str, Any]], names: list[str], values: list[list[str]]) -> list[Any]:
    """One result of asv: its columns, each in the order of the grid."""
    import numpy as np

    cells = {tuple(repr(row["params"].get(name)) for name in names): row for row in group}
    grid = [cells.get(cell) for cell in itertools.product(*values)]
    samples = [None if row is None else _samples(row) for row in grid]

    def column(name: str) -> list[Any]:
        return [None if row is None else row[name] for row in grid]

    def quartile(share: float) -> list[Any]:
        return [None if each is None else float(np.quantile(each, share)) for each in samples]

    repeats = [None if each is None else len(each) for each in samples]
    ones = [None if each is None else 1 for each in samples]
    measured = [column("median_s"), values, str(group[0]["version"]), _milliseconds(run), None]
    intervals = [column("low_s"), column("high_s"), quartile(0.25), quartile(0.75), ones, repeats]
    return [*measured, *intervals, samples]


def _samples(row: dict[str, Any]) -> list[float]:
    return [seconds for record in row["records"] for seconds in record.samples_s]


def _milliseconds(run: Run) -> int:
    """When it was measured: the run does not know when the commit was made."""
    return int(datetime.fromisoformat(run.started).timestamp() * 1000) if run.started else 0


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")
