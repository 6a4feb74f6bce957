"""Apache Otava: one CSV a point, a row a run in the order of time, and the configuration that names them as tests.

Otava finds change points in series, and takes no gap in a column: a run without the point has no row.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

from benchbench.exchange.source import Export, Run, named, rows

METRICS = {"median_s": -1, "throughput_img_per_s": 1}


def export(runs: Sequence[Run]) -> Export:
    """Run Otava from the folder: OTAVA_CONFIG=otava.yaml otava analyze NAME."""
    if not runs:
        raise ValueError("otava takes at least one run, better many: it looks for changes in a series")
    series: dict[str, list[dict[str, Any]]] = {}
    left_out: list[str] = []
    for run in sorted(runs, key=lambda run: run.started):
        if not run.started:
            raise ValueError(f"run {run.name} does not say when it started: otava orders by time")
        found, left = rows(run)
        left_out += [f"{run.name}: {line}" for line in left]
        for row in found:
            point = {"time": run.started, "commit": run.known("commit"), "run": run.name}
            point |= {metric: row[metric] for metric in METRICS if row[metric] is not None}
            series.setdefault(named(row), []).append(point)
    names = {key: f"series/{i:04d}-{_slug(key)}.csv" for i, key in enumerate(series)}
    files = {names[key]: _text(points) for key, points in series.items()}
    return Export({"otava.yaml": _configuration(names, series), **files}, tuple(left_out))


def _columns(points: list[dict[str, Any]]) -> list[str]:
    """Those that every row has."""
    return [name for name in points[0] if all(name in point for point in points)]


def _text(points: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(points), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(points)
    return text.getvalue()


def _configuration(names: dict[str, str], series: dict[str, list[dict[str, Any]]]) -> str:
    lines = ["tests:"]
    for key, name in names.items():
        # A string of JSON is a string of YAML.
        lines += [f"  {json.dumps(key)}:", "    type: csv", f"    file: {json.dumps(name)}", "    time_column: time"]
        lines += ["    attributes: [commit, run]", "    metrics:"]
        for metric in METRICS:
            if metric in _columns(series[key]):
                lines += [f"      {metric}:", f"        direction: {METRICS[metric]}"]
    return "\n".join(lines) + "\n"


def _slug(key: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")[:80]
