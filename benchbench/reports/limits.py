"""What limits each point, in words: the launch, the host, memory, or neither; read off the run's own controls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchbench import units
from benchbench.reports import rows

if TYPE_CHECKING:
    import pandas

# A point below five times the empty launch is bound by overhead; so the suite marks it everywhere.
_OVERHEAD = 5.0
# The host clock includes the launches: when it exceeds the device's by so much, the device waits for the host.
_HOST = 1.15
# Shares of the copy rate: above the first a point streams like a copy, above the second it must be in a cache.
_STREAMING, _CACHED = 0.75, 1.05
_PHASES = "time goes to"


@dataclass(frozen=True, slots=True)
class Controls:
    """What the run measured of the machine itself: the empty launch (s) and copies, (bytes moved, bytes a second)."""

    empty_s: float | None
    copies: tuple[tuple[float, float], ...]

    def copy_rate(self, size: float) -> float | None:
        """Bytes a second of the copy whose footprint is nearest, None without a copy."""
        if not self.copies or size <= 0:
            return None
        return min(self.copies, key=lambda copy: abs(math.log(copy[0] / size)))[1]


def controls(results: pandas.DataFrame) -> Controls:
    """The controls of a run; a run without them limits nothing."""
    good = rows.measured(rows.tidy(results))
    empty = [float(seconds) for seconds in good.loc[good["case"] == "control_empty", "median_s"]]
    copies = good[(good["case"] == "control_copy") & (good["work_bytes"] > 0) & (good["bytes_per_s"] > 0)]
    found = sorted(zip(copies["work_bytes"].astype(float), copies["bytes_per_s"].astype(float), strict=True))
    return Controls(min(empty, default=None), tuple(found))


def limit(record: Mapping[Any, Any], known: Controls) -> str:
    """What limits one measured row, with the figure that says so; empty where nothing can be said."""
    median = rows.value(record.get("median_s"))
    if median is None or str(record.get("case", "")).startswith("control_"):
        return ""
    host = rows.value(record.get("host_median_s"))
    if known.empty_s is not None and median < _OVERHEAD * known.empty_s:
        return f"launch overhead: {units.number_text(median / known.empty_s, digits=2)} times an empty launch"
    if host is not None and rows.value(record.get("clock")) != "host" and host > _HOST * median:
        return f"the host: its launches take {units.ratio_text(host / median)} the device's time"
    if rows.value(record.get("model")) is not None:
        return _phases(record, median)
    size, rate = rows.value(record.get("work_bytes")), rows.value(record.get("bytes_per_s"))
    copy = known.copy_rate(size) if size else None
    if not rate or copy is None:
        return ""
    share = rate / copy
    if share > _CACHED:
        return f"a cache: {units.share_text(share)} of the rate of a copy of this size"
    if share >= _STREAMING:
        return f"memory: {units.share_text(share)} of the copy rate"
    return f"not memory alone: its least bytes at {units.share_text(share)} of the copy rate, so it moves more or waits"


def summary(results: pandas.DataFrame, known: Controls | None = None) -> list[str]:
    """How many points each limit holds, most first: "12 points are limited by memory".

    known: the controls, where these results are a part of the run and lack them.
    """
    known = known or controls(results)
    kinds: dict[str, int] = {}
    for record in rows.measured(rows.tidy(results)).to_dict("records"):
        text = limit(record, known)
        if text and not text.startswith(_PHASES):
            kind = text.split(":")[0]
            kinds[kind] = kinds.get(kind, 0) + 1
    ordered: Sequence[tuple[str, int]] = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return [_counted(kind, count) for kind, count in ordered]


def _counted(kind: str, count: int) -> str:
    points = "1 point is" if count == 1 else f"{count} points are"
    if kind.startswith("not "):
        return f"{points} not limited by memory alone: more bytes than the least, or waiting."
    return f"{points} limited by {kind}."


def _phases(record: Mapping[Any, Any], median: float) -> str:
    parts = [(name, rows.value(record.get(f"{name}_s"))) for name in ("forward", "backward", "optimizer")]
    known = [f"{name} {units.share_text(seconds / median)}" for name, seconds in parts if seconds is not None]
    return f"{_PHASES}: {', '.join(known)}" if known else ""
