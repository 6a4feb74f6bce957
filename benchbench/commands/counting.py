"""What did the hardware count for the points of a run? A profile of Nsight Compute, read from a file or made now."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchbench import once
from benchbench.commands.terminal import note

if TYPE_CHECKING:
    from benchbench.access.ncu import Launch
    from benchbench.store import Run


def keep_counters(run: Run, launches: Sequence[Launch], *, provenance: str, file: str = "") -> list[dict[str, Any]]:
    """Join a profile to the points of the run and keep it beside them, a row a point, which are returned.

    provenance: M3 for a file, M4 for a profile made on this machine. Raises ValueError for a profile of another run,
    StoreError where the run's folder cannot be written to.
    """
    from benchbench.access.ncu import MARK, joined
    from benchbench.store import COUNTERS, StoreError

    points = once.points_of(run.read()[0])
    if not points:
        has = "has no point that launched kernels on a GPU"
        raise ValueError(f"this profile is of another run: {run.id} {has}; name the profile's own with --join")
    networks: list[str] = []
    if not any(launch.kernel == MARK for launch in launches):
        networks = [key for key, record in points.items() if "model" in record.params]
        # A long list of launches keeps each name once, and then nothing says how many are of one call.
        points = {key: record for key, record in points.items() if key not in networks}
    found = joined(launches, [(key, record.kernels) for key, record in points.items()])
    if networks:
        note(f"{len(networks)} networks are left out: profile them with python -m benchbench.once {run.folder}")
    rows = [{"key": key, "provenance": provenance, "file": file, **metrics} for key, metrics in found.items()]
    try:
        (run.folder / COUNTERS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    except OSError as error:
        raise StoreError(f"cannot write to {run.folder}: {error.strerror}") from None
    return rows


def count_now(run: Run) -> list[dict[str, Any]]:
    """Profile every point of the run, called once, with ncu. Raises CannotMeasure where this machine cannot."""
    from benchbench.access.ncu import collect
    from benchbench.child import CannotMeasure

    if not once.points_of(run.read()[0]):
        raise CannotMeasure(
            f"run {run.id} has no point that launched kernels on a GPU, and ncu counts nothing else: "
            "bench traffic traces kernels without one"
        )
    try:
        launches = collect([sys.executable, "-m", "benchbench.once", str(run.folder)], from_start=False)
        return keep_counters(run, launches, provenance="M4")
    except ValueError as error:
        raise CannotMeasure(str(error)) from None


def readable(rows: Sequence[dict[str, Any]], run: Run) -> list[dict[str, str]]:
    """The counters for people: what the point is, its DRAM bytes, its time under the profiler."""
    from benchbench import units
    from benchbench.reports import table

    records = once.points_of(run.read()[0])

    def row(counted: dict[str, Any]) -> dict[str, str]:
        record = records[counted["key"]]
        settings = {k: v for k, v in record.params.items() if k in ("precision", "layout", "mode", "backend", "batch")}
        return {
            "what": table.name({**record.params, "case": record.case}),
            **{name: str(value) for name, value in settings.items()},
            "DRAM bytes": units.bytes_text(counted.get("dram_bytes")),
            "read": units.bytes_text(counted.get("dram__bytes_read.sum")),
            "written": units.bytes_text(counted.get("dram__bytes_write.sum")),
            "time in the profiler": units.time_text(counted.get("gpu__time_duration.sum")),
        }

    return [row(counted) for counted in rows]
