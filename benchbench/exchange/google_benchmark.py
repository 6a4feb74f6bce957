"""Google Benchmark's --benchmark_format=json: one entry a repetition, and aggregates, which are computed anew here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchbench.exchange.source import imported
from benchbench.record import Record

UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


def recognises(text: str) -> bool:
    """Whether it has the context and the entries of Google Benchmark."""
    document = json.loads(text)
    return (
        "context" in document
        and "real_time" in document["benchmarks"][0] | {"real_time": 0}
        and ("run_name" in document["benchmarks"][0] or "iterations" in document["benchmarks"][0])
    )


def read(text: str, path: Path) -> list[Record]:
    """One Record a benchmark, its repetitions as samples. A repetition is itself a mean over its iterations."""
    repetitions: dict[str, list[Mapping[str, Any]]] = {}
    for entry in json.loads(text)["benchmarks"]:
        if entry.get("run_type", "iteration") == "iteration":
            repetitions.setdefault(entry.get("run_name") or entry["name"], []).append(entry)
    return [_record(name, entries) for name, entries in repetitions.items()]


def _record(name: str, entries: list[Mapping[str, Any]]) -> Record:
    case, *arguments = name.split("/")
    params: dict[str, Any] = {}
    for i, argument in enumerate(arguments):
        # Arguments may be named, "size:64"; the others go by their place.
        label, colon, value = argument.partition(":")
        params[label if colon else f"argument{i}"] = value if colon else argument
    bad = [entry for entry in entries if entry.get("error_occurred")]
    good = [entry for entry in entries if not entry.get("error_occurred")]
    skipped = [entry for entry in good if entry.get("skipped")]
    if bad or skipped:
        first = (bad or skipped)[0]
        reason = str(first.get("error_message") or first.get("skip_message") or "")
        return imported("google-benchmark", case, params, (), status="fail" if bad else "skip", reason=reason)
    times = [float(entry["real_time"]) * UNITS[entry.get("time_unit", "ns")] for entry in good]
    return imported("google-benchmark", case, params, times, host_samples_s=times)
