"""Tidy CSV: one row a result, and one row a sample, every number unrounded and in the unit of its column's name."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from benchbench.exchange.source import Export, Run
from benchbench.record import Record

PARTS = {
    "call": "samples_s",
    "host": "host_samples_s",
    "forward": "forward_s",
    "backward": "backward_s",
    "optimizer": "optimizer_s",
}


def export(runs: Sequence[Run]) -> Export:
    """results.csv, where failed points are rows with their status, and samples.csv."""
    import pandas

    from benchbench.stats import results

    if not runs:
        raise ValueError("csv takes at least one run")
    frames = []
    for run in runs:
        frame = results(run.records)
        frame.insert(0, "run", run.name)
        frames.append(frame)
    table = pandas.concat(frames, ignore_index=True)
    return Export({"results.csv": table.to_csv(index=False, lineterminator="\n"), "samples.csv": _samples(runs)})


def _samples(runs: Sequence[Run]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("run", "key", "arm", "round", "status", "clock", "part", "sample", "seconds"))
    for run in runs:
        for record in run.records:
            for part, name in PARTS.items():
                writer.writerows(_rows(run, record, part, getattr(record, name)))
            for part, seconds in record.parts_s.items():
                writer.writerows(_rows(run, record, part, seconds))
    return text.getvalue()


def _rows(run: Run, record: Record, part: str, seconds: Sequence[float]) -> list[tuple[object, ...]]:
    clock = "host" if part == "host" else record.clock
    place = (run.name, record.key, record.arm, record.round, record.status, clock, part)
    return [(*place, i, repr(value)) for i, value in enumerate(seconds)]
