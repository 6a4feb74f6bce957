"""benchmark-action/github-action-benchmark: its tools customSmallerIsBetter, in seconds, and customBiggerIsBetter.

An entry has name, unit and value, and may have range and extra (src/extract.ts of that project).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from benchbench.exchange.source import Export, Run, named, only, rows


def export(runs: Sequence[Run]) -> Export:
    """Two files: one for each direction, because the action has one direction a file."""
    found, left_out = rows(only(runs, "github-action-benchmark"))
    smaller = [_entry(row, "median_s", "low_s", "high_s", "s") for row in found]
    rated = [row for row in found if row["throughput_img_per_s"] is not None]
    rates = ("throughput_img_per_s", "throughput_low_img_per_s", "throughput_high_img_per_s")
    bigger = [_entry(row, *rates, "img/s") for row in rated]
    files = {"smaller-is-better.json": json.dumps(smaller, indent=1) + "\n"}
    if bigger:
        files["bigger-is-better.json"] = json.dumps(bigger, indent=1) + "\n"
    return Export(files, left_out)


def _entry(row: dict[str, Any], value: str, low: str, high: str, unit: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": named(row), "unit": unit, "value": row[value]}
    if row[low] is not None and row[high] is not None:
        entry["range"] = f"± {(row[high] - row[low]) / 2:.6g}"
    entry["extra"] = f"{row['rounds']} rounds, {row['samples']} samples\nwarm-up: {row['warmup_class']}"
    return entry
