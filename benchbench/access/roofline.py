"""How near to what this machine can do is each point, and what limits it? The roofs are measured in the same run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Below this share of a roof the point is limited by something else; a well-written streaming kernel reaches 0.85.
NEAR_A_ROOF = 0.6
# A warm plateau is one where copying is at least this much faster than the slowest size of the same run.
FASTER_IN_CACHE = 1.3


@dataclass(frozen=True, slots=True)
class Roofs:
    """Measured roofs of one device in one run, in bytes/s and flop/s; None where the run has no such roof.

    memory: the plateau of copies and triads too large for the cache; cache: the plateau of those that fit it.
    """

    memory_bytes_per_s: float | None
    cache_bytes_per_s: float | None
    cache_up_to_bytes: int
    fma_flops_per_s: float | None
    tensor_flops_per_s: Mapping[str, float]

    @property
    def ridge(self) -> float | None:
        """Flops a byte above which arithmetic is the nearer roof."""
        if not self.fma_flops_per_s or not self.memory_bytes_per_s:
            return None
        return self.fma_flops_per_s / self.memory_bytes_per_s


@dataclass(frozen=True, slots=True)
class Bar:
    """A point on the roofline: a bar from its least bytes (M0) to the best known, with the latter's provenance."""

    key: str
    flops_per_s: float
    least_bytes: int
    known_bytes: float
    provenance: str  # M0 work, M1 traced, M2 time x copy bandwidth, M3 imported, M4 live
    intensity_high: float
    intensity_low: float
    share_of_memory_roof: float | None
    share_of_fma_roof: float | None
    limiter: str
    doubt: str


def roofs_from(measured: Iterable[Mapping[str, Any]]) -> Roofs:
    """The roofs of results, one mapping a point: case, median_s, work_bytes, work_flops, and kibibytes or precision.

    Raises ValueError where no copy or triad is among them.
    """
    rows = [row for row in measured if _usable(row)]
    streams = [row for row in rows if row["case"] in ("roof_copy", "roof_triad", "control_copy")]
    if not streams:
        raise ValueError(
            "no copy or triad roof was measured in this run: bench roofline --measure makes a run with roofs"
        )
    rates = sorted((int(row["work_bytes"]), row["work_bytes"] / row["median_s"]) for row in streams)
    largest = rates[-1][0]
    memory = max(rate for size, rate in rates if size >= largest / 2)
    inside = [(size, rate) for size, rate in rates if rate >= FASTER_IN_CACHE * memory]
    flops = [row["work_flops"] / row["median_s"] for row in rows if row["case"] == "roof_fma"]
    tensor: dict[str, float] = {}
    for row in rows:
        if row["case"] == "roof_matmul":
            rate = row["work_flops"] / row["median_s"]
            tensor[str(row["precision"])] = max(rate, tensor.get(str(row["precision"]), 0.0))
    return Roofs(
        memory_bytes_per_s=memory,
        cache_bytes_per_s=max((rate for _, rate in inside), default=None),
        cache_up_to_bytes=max((size for size, _ in inside), default=0),
        fma_flops_per_s=max(flops, default=None),
        tensor_flops_per_s=tensor,
    )


def bars(
    measured: Iterable[Mapping[str, Any]],
    roofs: Roofs,
    traced: Mapping[str, float] | None = None,
    *,
    counted: Mapping[str, tuple[float, str]] | None = None,
) -> list[Bar]:
    """A bar a measured point that moves bytes, the roofs themselves left out.

    traced: key -> bytes counted by tracing (M1); counted: key -> bytes of hardware counters with their letter (M3 from
    a file, M4 live), which are believed before traces; else the upper end is time x memory roof (M2), never below M0.
    measured: as for ``roofs_from``, with ``key``.
    """
    known = {key: (count, "M1") for key, count in (traced or {}).items()}
    known |= counted or {}
    return [
        bar(row, roofs, *known.get(str(row["key"]), ()))
        for row in measured
        if _usable(row) and row["work_bytes"] > 0 and not str(row["case"]).startswith(("roof_", "control_"))
    ]


def bar(row: Mapping[str, Any], roofs: Roofs, counted: float | None = None, provenance: str = "M1") -> Bar:
    """One point's bar; ``counted`` bytes, where known, with their provenance."""
    seconds, least, flops = float(row["median_s"]), int(row["work_bytes"]), float(row["work_flops"])
    upper = seconds * (roofs.memory_bytes_per_s or 0.0)
    known, letter = (counted, provenance) if counted else (upper, "M2")
    fits = least <= roofs.cache_up_to_bytes and roofs.cache_bytes_per_s is not None
    doubt = ""
    if upper < least and not fits:
        doubt = (
            f"moved its least {least} bytes faster than this machine copies: the time or the byte model is wrong, "
            "unless the point fits the cache"
        )
    if counted and counted < least and not fits:
        doubt = f"{counted:.0f} bytes were counted, fewer than its least {least}: from the cache, or of another point"
    if known < least:
        known, letter = float(least), "M0"
    memory = least / seconds / roofs.memory_bytes_per_s if roofs.memory_bytes_per_s else None
    arithmetic = flops / seconds / roofs.fma_flops_per_s if roofs.fma_flops_per_s else None
    return Bar(
        key=str(row.get("key", "")),
        flops_per_s=flops / seconds,
        least_bytes=least,
        known_bytes=known,
        provenance=letter,
        intensity_high=flops / least,
        intensity_low=flops / known,
        share_of_memory_roof=memory,
        share_of_fma_roof=arithmetic,
        limiter=limiter(memory, arithmetic, counted / least if counted else None, fits),
        doubt=doubt,
    )


def limiter(memory: float | None, arithmetic: float | None, amplification: float | None, fits_cache: bool) -> str:
    """What limits a point, in words, from its shares of the memory and of the multiply-add roof."""
    if memory is None:
        return "unknown: no memory roof was measured"
    moved = memory * (amplification or 1.0)
    if moved >= NEAR_A_ROOF and moved >= (arithmetic or 0.0):
        if amplification and amplification > 1.2 and memory < NEAR_A_ROOF:
            return f"memory, {amplification:.1f} times the bytes that it needs"
        return "the cache" if fits_cache and memory > 1 else "memory"
    if (arithmetic or 0.0) >= NEAR_A_ROOF:
        return "arithmetic"
    return "neither roof: instructions, latency or launch overhead"


def plateau_rows(measured: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Bytes/s of each copy and triad by size, smallest first: what a plot of the two plateaus draws."""
    streams = [row for row in measured if _usable(row) and row["case"] in ("roof_copy", "roof_triad", "control_copy")]
    found: Sequence[dict[str, Any]] = [
        {
            "case": row["case"],
            "work_bytes": int(row["work_bytes"]),
            "cache": row["cache"] if isinstance(row.get("cache"), str) else "",
            "bytes_per_s": row["work_bytes"] / row["median_s"],
        }
        for row in streams
    ]
    return sorted(found, key=lambda row: (row["case"], row["work_bytes"], row["cache"]))


def _usable(row: Mapping[str, Any]) -> bool:
    seconds, moved = row.get("median_s"), row.get("work_bytes")
    # A result without a time is a failed or skipped point; NaN is what an empty cell of a table becomes.
    return bool(seconds) and seconds == seconds and moved == moved and moved is not None
