"""A case over the stored runs of one testbed, as ratios to the pinned baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchbench.store import Run

BLOCKS = "▁▂▃▄▅▆▇█"


def rows_of(store: Path, pinned: Run, case: str) -> list[dict[str, Any]]:
    """A row a key and run, oldest first: commit, ratio to the baseline with its interval, and what is suspected."""
    import numpy as np

    from benchbench.gate import estimate
    from benchbench.gate.history import suspects
    from benchbench.store import runs

    medians = _medians(pinned)
    keys = [key for key in medians if case in (key, key.partition("@")[0]) or fnmatchcase(key, case)]
    testbed = pinned.asked().get("testbed")
    later = [(run, _medians(run)) for run in runs(store) if run.asked().get("testbed") == testbed]
    rows: list[dict[str, Any]] = []
    for key in keys:
        ratios: list[float] = []
        for run, found in later:
            if key not in found:
                continue
            change = estimate.welch(medians[key], found[key])
            low, high = estimate.interval(change, 0.9)
            # One round has no spread, hence no interval, but it has a ratio.
            effect = float(np.nanmean(np.log(found[key])) - np.nanmean(np.log(medians[key])))
            ratios.append(float(np.exp(effect)))
            suspect = suspects(np.array([ratios]))
            description = run.asked().get("description", {})
            rows.append(
                {
                    "series": key,
                    "run": run.id,
                    "commit": str(description.get("commit") or run.id)[:12],
                    "ratio": ratios[-1],
                    "low": _finite(np.exp(low)),
                    "high": _finite(np.exp(high)),
                    "suspect": str(suspect.kind[0]),
                    "change": str(suspect.kind[0]) == "step",
                }
            )
    return rows


def lines_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line a series: a sparkline of its ratios, the newest and what it is suspected of."""
    lines = []
    for series in dict.fromkeys(row["series"] for row in rows):
        mine = [row for row in rows if row["series"] == series]
        ratios = [row["ratio"] for row in mine]
        suspect = f", suspected: {mine[-1]['suspect']}" if mine[-1]["suspect"] else ""
        lines.append(f"{sparkline(ratios)}  {ratios[-1]:.3f}x  {series}{suspect}")
    return lines


def sparkline(values: Sequence[float]) -> str:
    """The values as blocks of eight heights; equal values stand in the middle."""
    low, high = min(values), max(values)
    if high == low:
        return BLOCKS[3] * len(values)
    return "".join(BLOCKS[min(7, int(8 * (value - low) / (high - low)))] for value in values)


def _medians(run: Run) -> dict[str, Any]:
    from benchbench.stats import round_medians

    keys, medians = round_medians([record for record in run.read()[0] if record.arm in ("", "B")])
    return {key: medians[i] for i, key in enumerate(keys)}


def _finite(value: Any) -> float | None:
    import math

    return float(value) if math.isfinite(float(value)) else None
