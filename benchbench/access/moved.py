"""How many bytes does a call move, where that is known? Stock's by its model, ours as traced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from benchbench.access.shipped import TRACED_BATCH
from benchbench.access.stock import PRECISIONS, Mixer, stock_bytes

Row = dict[str, Any]
DTYPE = {"fp32": "fp32", "tf32": "fp32", "fp16": "fp16", "bf16": "bf16"}
DIRECTIONS = {"forward": ("forward",), "backward": ("backward",), "forward_backward": ("forward", "backward")}


def moved_rows(measured: Iterable[Mapping[str, Any]], traffic: Iterable[Mapping[str, Any]] = ()) -> list[Row]:
    """A row for each measured point of the Inception mixer whose bytes are known: its axes, bytes and provenance.

    measured: results with case, kernel_size, ratio, shape, batch, precision, layout, mode and backend. Stock's bytes
    are "derived" (access.stock). Ours are "M1": the program sectors of ``rows.traffic_rows`` for the same kernel size,
    type, layout and shape at ratio 1/8, scaled from the traced batch to the point's.
    """
    known = {
        (row["direction"], row["dtype"], row["layout"], row["shape"], int(row["kernel_size"])): row for row in traffic
    }
    found = []
    for point in measured:
        if point.get("case") == "inception_dwconv" and point.get("mode") in DIRECTIONS:
            for moved, provenance in _moved(point, known):
                axes = {name: point.get(name) for name in AXES}
                found.append({**axes, "bytes": moved, "provenance": provenance})
    return found


AXES = ("case", "kernel_size", "ratio", "shape", "batch", "precision", "layout", "mode", "backend")


def _moved(point: Mapping[str, Any], known: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> Iterator[tuple[int, str]]:
    """The bytes of the point and where they are from, if they are known."""
    precision, layout, size = str(point["precision"]), str(point["layout"]), int(point["kernel_size"])
    directions = DIRECTIONS[str(point["mode"])]
    if point["backend"] == "aten" and precision in PRECISIONS and layout in ("nchw", "nhwc"):
        sizes = mixer_of(point)
        parts = (stock_bytes(sizes, precision=precision, layout=layout, mode=mode) for mode in directions)
        yield sum(parts), "derived"
    if point["backend"] == "triton" and Fraction(str(point["ratio"])) == Fraction(1, 8):
        traced = [known.get((d, DTYPE.get(precision), layout, str(point["shape"]), size)) for d in directions]
        if all(traced):
            images = Fraction(int(point["batch"]), TRACED_BATCH)
            yield int(sum(row["program_sector_bytes"] for row in traced if row) * images), "M1"


def mixer_of(point: Mapping[str, Any]) -> Mixer:
    """The sizes of a measured point of the mixer."""
    channels, height, width = (int(part) for part in str(point["shape"]).split("x"))
    branch = int(channels * Fraction(str(point["ratio"])))
    return Mixer(int(point["batch"]), channels, height, width, branch, int(point["kernel_size"]))
