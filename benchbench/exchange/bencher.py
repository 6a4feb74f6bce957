"""Bencher Metric Format (bencher.dev/docs/reference/bencher-metric-format): benchmark -> measure -> value and bounds.

The measures that Bencher has built in are latency, in nanoseconds, and throughput, in operations a second; an operation
is an image here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from benchbench.exchange.source import Export, Run, named, only, rows

NAME_LENGTH = 1024


def export(runs: Sequence[Run]) -> Export:
    """One file. Bounds are left out where one round gives no interval."""
    found, left_out = rows(only(runs, "bencher"))
    document: dict[str, Any] = {}
    for row in found:
        name = named(row)
        if len(name) > NAME_LENGTH:
            raise ValueError(f"bencher takes names of {NAME_LENGTH} characters, {name[:60]}... has {len(name)}")
        measures = {"latency": _metric(row, "median_s", "low_s", "high_s", 1e9)}
        if row["throughput_img_per_s"] is not None:
            rates = ("throughput_img_per_s", "throughput_low_img_per_s", "throughput_high_img_per_s")
            measures["throughput"] = _metric(row, *rates, 1.0)
        document[name] = measures
    return Export({"bencher.json": json.dumps(document, indent=1) + "\n"}, left_out)


def _metric(row: dict[str, Any], value: str, low: str, high: str, scale: float) -> dict[str, float]:
    metric = {"value": row[value] * scale}
    if row[low] is not None and row[high] is not None:
        metric |= {"lower_value": row[low] * scale, "upper_value": row[high] * scale}
    return metric
