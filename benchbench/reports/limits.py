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
# A copy of more than two caches finds nothing of its source in them when it is made again.
_BEYOND_THE_CACHE = 2
_PHASES = "time goes to"


@dataclass(frozen=True, slots=True)
class Controls:
    """What the run measured of the machine itself: the empty launch (s) and copies, (bytes moved, bytes a second).

    cache_bytes: the last-level cache of the machine, None where it is not known.
    """

    empty_s: float | None
    copies: tuple[tuple[float, float], ...]
    cache_bytes: float | None = None

    def copy_rate(self, size: float, *, cold: bool = False) -> float | None:
        """Bytes a second of the copy whose footprint is nearest, None without one.

        Copies follow one another in a warm cache. cold: for a point whose cache was flushed before each call; only
        copies that are beyond any help of the cache then count, if its size is known.
        """
        least = _BEYOND_THE_CACHE * self.cache_bytes if cold and self.cache_bytes else 0.0
        copies = [copy for copy in self.copies if copy[0] > least]
        if not copies or size <= 0:
            return None
        return min(copies, key=lambda copy: abs(math.log(copy[0] / size)))[1]

    def copy_rate_at(self, record: Mapping[Any, Any]) -> float | None:
        """The rate that a measured row is held against: at its least bytes, cold where the row is cold."""
        size = rows.value(record.get("work_bytes"))
        return self.copy_rate(float(size), cold=rows.value(record.get("cache")) == "cold") if size else None


def cache_bytes_of(description: Mapping[str, Any]) -> float | None:
    """The last-level cache of a described machine: a GPU's L2, and nothing for a CPU, of which no run records it."""
    found: float | None = description.get("gpu_l2_bytes")
    return found


def controls(results: pandas.DataFrame, cache_bytes: float | None = None) -> Controls:
    """The controls of a run, on a machine with such a last-level cache; a run without them limits nothing."""
    good = rows.measured(rows.tidy(results))
    empty = [float(seconds) for seconds in good.loc[good["case"] == "control_empty", "median_s"]]
    copies = good[(good["case"] == "control_copy") & (good["work_bytes"] > 0) & (good["bytes_per_s"] > 0)]
    found = sorted(zip(copies["work_bytes"].astype(float), copies["bytes_per_s"].astype(float), strict=True))
    return Controls(min(empty, default=None), tuple(found), cache_bytes)


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
    rate, copy = rows.value(record.get("bytes_per_s")), known.copy_rate_at(record)
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
