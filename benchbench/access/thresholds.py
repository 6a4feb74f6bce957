"""Does a shipped Inception kernel keep what it must, whatever it was before? Thresholds a prototype has shown to hold.

They are stated for the stage shapes of InceptionNeXt-T, S and B; a row of another width is held to the nearest one
above it. What each number means is defined in docs/bytes.md, with the rows that this reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from benchbench.access.shipped import ITEMSIZE

LEAST_OCCUPANCY = 0.25
LEAST_WIDE_LOADS = 0.75
LEAST_IN_FLIGHT = {"sm_100": 40 * 1024}
"""Bytes that a multiprocessor must have asked for: 24 KiB hide an H200's latency, 35 a B200's; with a margin."""
USUAL_IN_FLIGHT = 32 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a layout and direction may use, by plane width: 56, 28, 14, 7."""

    instructions: tuple[float, float, float, float]
    requested: tuple[float, float, float, float]
    sectors: tuple[float, float, float, float]


WIDTHS = (56, 28, 14, 7)
# An H200 issues 41 instructions of a thread while it reads an output of 16 bits, writes it and reads it again (128 a
# cycle and multiprocessor, 18.4 bytes): with more, statistics would be as quick in a pass of their own. Less an eighth.
STATISTICS = (36.0, 36.0, 36.0, 36.0)
LIMITS = {
    ("nchw", "forward"): Limits((8.5, 8.5, 8.5, 11.5), (1.25, 1.15, 1.15, 1.15), (1.05, 1.05, 1.2, 1.2)),
    ("nchw", "backward"): Limits((16, 16, 18, 24), (1.3, 1.2, 1.2, 1.2), (1.25, 1.25, 1.25, 1.25)),
    ("nhwc", "forward"): Limits((12, 12, 12, 12), (1.45, 1.45, 1.45, 1.45), (1.45, 1.45, 1.45, 1.45)),
    ("nhwc", "backward"): Limits((24, 24, 24, 24), (1.6, 1.6, 1.6, 1.6), (1.8, 1.8, 1.8, 1.8)),
}
# Sixteen-bit channel groups of 12 fill sectors badly in NHWC: stage 1 of T and S may touch this many.
NARROW_GROUP_SECTORS = 1.8


for _layout in ("nchw", "nhwc"):
    LIMITS[_layout, "statistics"] = replace(LIMITS[_layout, "forward"], instructions=STATISTICS)


def violations(row: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(what, limit, value) of everything in a resource or traffic row that its thresholds forbid."""
    if (row["layout"], row["direction"]) not in LIMITS:
        raise ValueError(f"no thresholds for {row['layout']} {row['direction']}")
    return _of_resources(row) if "registers" in row else _of_traffic(row)


def _place(row: Mapping[str, Any]) -> int:
    width = int(str(row["shape"]).split("x")[2])
    return next((i for i, known in reversed(list(enumerate(WIDTHS))) if width <= known), 0)


def _of_resources(row: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    limits = LIMITS[row["layout"], row["direction"]]
    most = limits.instructions[_place(row)]
    found: list[tuple[str, Any, Any]] = []
    if row["spill_bytes"] or row["local_accesses"]:
        found.append(("spilled bytes", 0, row["spill_bytes"]))
    if row["occupancy"] < LEAST_OCCUPANCY:
        found.append(("occupancy", LEAST_OCCUPANCY, row["occupancy"]))
    if row["instructions_per_output"] is None or row["instructions_per_output"] > most:
        found.append(("instructions per output", most, row["instructions_per_output"]))
    over = row["instructions_over_parts"]
    if over is not None and over > 1.05:
        found.append(("instructions over the sum of the parts", 1.05, over))
    least = LEAST_IN_FLIGHT.get(row["arch"], USUAL_IN_FLIGHT)
    flying = row["bytes_in_flight"]
    if flying is not None and flying < least and (row["layout"], row["direction"]) != ("nhwc", "backward"):
        found.append(("bytes in flight", least, flying))
    return found + _of_widths(row)


def _of_widths(row: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    wanted = 16
    if row["layout"] == "nchw" and row["direction"] == "statistics":
        # The identity is copied plane by plane, and so as wide as all planes begin.
        plane = ITEMSIZE[row["dtype"]] * prod(int(part) for part in str(row["shape"]).split("x")[1:])
        wanted = min(16, plane & -plane)
    if row["layout"] == "nhwc":
        channels = int(str(row["shape"]).split("x")[0])
        identity = (channels - 3 * (channels // 8)) * ITEMSIZE[row["dtype"]]
        wanted = 16 if identity % 16 == 0 else 8
    if row["identity_widths"] and min(row["identity_widths"]) < wanted:
        found.append(("identity width in bytes", wanted, min(row["identity_widths"])))
    if row["layout"] == "nchw":
        widest = row["widest_bytes"]
        if row["store_widths"] and min(row["store_widths"]) < widest:
            found.append(("store width in bytes", widest, min(row["store_widths"])))
        if row["wide_load_share"] is not None and row["wide_load_share"] < LEAST_WIDE_LOADS:
            found.append(("share of wide loads", LEAST_WIDE_LOADS, row["wide_load_share"]))
    return found


def _of_traffic(row: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    limits = LIMITS[row["layout"], row["direction"]]
    place, floor = _place(row), row["floor_bytes"]
    channels, _, width = (int(part) for part in str(row["shape"]).split("x"))
    sectors = limits.sectors[place]
    forward = row["direction"] in ("forward", "statistics")
    if forward and row["layout"] == "nhwc" and width > 28 and channels // 8 * ITEMSIZE[row["dtype"]] < 32:
        sectors = NARROW_GROUP_SECTORS
    found: list[tuple[str, Any, Any]] = []
    for what, name, most in (
        ("requested bytes over the floor", "requested_bytes", limits.requested[place]),
        ("program sectors over the floor", "program_sector_bytes", sectors),
    ):
        if row[name] > most * floor:
            found.append((what, most, row[name] / floor))
    return found
