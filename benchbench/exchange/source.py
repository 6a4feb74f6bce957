"""What an export is made from, and what an import becomes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchbench.record import Record


@dataclass(frozen=True, slots=True)
class Run:
    """A stored run. description: of its machine, {} where unknown; started: ISO 8601 with a zone, "" where unknown."""

    name: str
    records: tuple[Record, ...]
    description: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""

    def known(self, name: str, otherwise: str = "") -> str:
        """A field of the description as text."""
        value = self.description.get(name)
        return otherwise if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Export:
    """files: relative path -> text. left_out: the points that the format has no place for, with the reason."""

    files: Mapping[str, str]
    left_out: tuple[str, ...] = ()


def only(runs: Sequence[Run], tool: str) -> Run:
    """The one run that a format has a place for. Raises ValueError for none or several."""
    if len(runs) != 1:
        raise ValueError(f"{tool} takes one run, got {len(runs)}: export them one by one")
    return runs[0]


def rows(run: Run, *, level: float = 0.95) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The results of the points with status ok, None where there is nothing, and the others as lines of text.

    Each row has "records", those with samples, and "params", their axes, beside the columns of stats.results.
    Raises ValueError where no point was measured.
    """
    from benchbench.stats import results

    measured: dict[tuple[str, str], list[Record]] = {}
    for record in run.records:
        if record.status == "ok" and record.samples_s:
            measured.setdefault((record.key, record.arm), []).append(record)

    found: list[dict[str, Any]] = results(run.records, level=level).to_dict("records")  # type: ignore[assignment]
    kept = [_plain(row) for row in found if row["status"] == "ok" and math.isfinite(row["median_s"])]
    if not kept:
        raise ValueError(f"run {run.name} has no measured point: there is nothing to export")
    for row in kept:
        row["records"] = measured[row["key"], row["arm"]]
        row["params"] = row["records"][0].params
    left = tuple(f"{named(row)}: {_fate(row)}" for row in found if row["status"] != "ok")
    return kept, left


def named(row: Mapping[str, Any]) -> str:
    """The key of a row, with its arm where it has one."""
    return f"{row['key']} [{row['arm']}]" if row["arm"] else str(row["key"])


def _fate(row: Mapping[str, Any]) -> str:
    """What became of a point; the reason of most says the status itself."""
    status, reason = str(row["status"]), str(row["reason"])
    return reason if reason.startswith(status) else f"{status}: {reason}".removesuffix(": ")


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {str(k): None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def imported(
    tool: str,
    case: str,
    params: Mapping[str, Any],
    samples_s: Sequence[float],
    *,
    status: str = "ok",
    reason: str = "",
    items: int | None = None,
    host_samples_s: Sequence[float] = (),
) -> Record:
    """A Record of another tool's result. It says so in its reason and its machine state, and is never a baseline.

    items: images of one call, where they are known; bytes and flops of another tool's operation never are.
    """
    clean = {_word(str(name)): value for name, value in params.items()}
    key = ";".join((f"{_word(case)}@1", *(f"{name}={_word(str(clean[name]))}" for name in sorted(clean))))
    return Record(
        key=key,
        case=_word(case),
        version=1,
        params=clean,
        status=status,
        reason=": ".join(part for part in (f"imported from {tool}", reason) if part),
        samples_s=tuple(samples_s),
        host_samples_s=tuple(host_samples_s),
        clock="imported",
        work=None if items is None else {"items": items},
        machine_state={"imported": tool},
    )


def is_imported(record: Record) -> bool:
    """Whether another tool measured it."""
    return bool(record.machine_state.get("imported"))


def _word(text: str) -> str:
    """Text that cannot be mistaken for the punctuation of a key."""
    return " ".join(text.split()).replace(";", ",").replace("=", ":")
