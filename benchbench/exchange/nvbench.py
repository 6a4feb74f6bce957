"""NVBench's --json and --jsonbin: benchmarks, their states, and summaries that are found by their tag.

Summaries hold numbers as text, with their type. Samples, where they were kept, lie beside the file as 32-bit floats.
"""

from __future__ import annotations

import array
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchbench.exchange.source import imported
from benchbench.record import Record

SAMPLES = "nv/json/bin:nv/cold/sample_times"
# Without samples, the best single figure that the version of NVBench wrote.
TIMES = ("nv/cold/time/gpu/median", "nv/cold/time/gpu/mean", "nv/batch/time/gpu/mean", "nv/cpu_only/time/cpu/mean")


def recognises(text: str) -> bool:
    """Whether it has benchmarks made of states."""
    return "states" in json.loads(text)["benchmarks"][0]


def read(text: str, path: Path) -> list[Record]:
    """One Record a state, the skipped ones included; cold GPU times, sample by sample where they were kept."""
    return [
        _record(benchmark["name"], state, path)
        for benchmark in json.loads(text)["benchmarks"]
        for state in benchmark.get("states") or ()
    ]


def _record(case: str, state: Mapping[str, Any], path: Path) -> Record:
    params: dict[str, Any] = {
        axis["name"]: axis.get("value", axis.get("input_string", "")) for axis in state.get("axis_values") or ()
    }
    if state.get("device") is not None:
        params["device"] = state["device"]
    if state.get("is_skipped"):
        return imported("nvbench", case, params, (), status="skip", reason=str(state.get("skip_reason") or ""))
    summaries = {summary["tag"]: _values(summary) for summary in state.get("summaries") or ()}
    samples = _samples(summaries.get(SAMPLES), path)
    if samples:
        return imported("nvbench", case, params, samples)
    found = next((tag for tag in TIMES if "value" in summaries.get(tag, {})), None)
    if found is None:
        return imported("nvbench", case, params, (), status="fail", reason="it has no time")
    return imported("nvbench", case, params, [float(summaries[found]["value"])], reason=f"one figure, {found}")


def _values(summary: Mapping[str, Any]) -> dict[str, Any]:
    kinds: dict[str, Any] = {"int64": int, "float64": float}
    return {item["name"]: kinds.get(item["type"], str)(item["value"]) for item in summary.get("data") or ()}


def _samples(summary: Mapping[str, Any] | None, path: Path) -> list[float]:
    """The samples, [] where there are none. Raises ValueError where the file of samples is not whole."""
    if summary is None:
        return []
    name = str(summary["filename"])
    # NVBench writes the path as it was seen from where it ran.
    places = [path.parent / name, path.parent.parent / name, path.parent / Path(name).parent.name / Path(name).name]
    place = next((p for p in places if p.is_file()), None)
    if place is None:
        return []
    values = array.array("f")
    try:
        values.frombytes(place.read_bytes())
    except ValueError:
        raise ValueError(f"{place.name} is torn: its size is no multiple of 4 bytes") from None
    if sys.byteorder != "little":
        values.byteswap()
    if len(values) != summary["size"]:
        raise ValueError(f"{place.name} has {len(values)} samples, expected {summary['size']}")
    return values.tolist()
