"""How many bytes does a call move, where that is known? Stock's by its model, ours as traced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from benchbench.access.shipped import TRACED_BATCH, Spec
from benchbench.access.stock import PRECISIONS, Branches, inception_kernels, stock_bytes

Row = dict[str, Any]
DTYPE = {"fp32": "fp32", "tf32": "fp32", "fp16": "fp16", "bf16": "bf16"}
DIRECTIONS = {"forward": ("forward",), "backward": ("backward",), "forward_backward": ("forward", "backward")}


def moved_rows(
    measured: Iterable[Mapping[str, Any]],
    traffic: Mapping[Spec, Mapping[str, Any]] | None = None,
    counted: Mapping[str, tuple[float, str]] | None = None,
) -> list[Row]:
    """A row for each measured point whose bytes are known: its axes, bytes and provenance.

    measured: results with case, kernel_size, ratio, shape, batch, precision, layout, mode and backend. Stock's bytes
    are "derived" (access.stock). Ours are "M1": the program sectors that were traced, of the specs that ``specs_of``
    names, scaled from the traced batch to the point's. counted: key -> bytes that hardware counted, with their letter,
    which are believed before either.
    """
    found = []
    for point in measured:
        if point.get("mode") in DIRECTIONS:
            by_hardware = (counted or {}).get(str(point.get("key")))
            for moved, provenance in [by_hardware] if by_hardware else _moved(point, traffic or {}):
                axes = {name: point.get(name) for name in AXES}
                found.append({**axes, "bytes": moved, "provenance": provenance})
    return found


def specs_of(point: Mapping[str, Any]) -> tuple[Spec, ...]:
    """The traces whose sectors add up to what a measured point of our mixer moves; none for any other point."""
    dtype = DTYPE.get(str(point.get("precision")))
    if (point.get("case"), point.get("backend")) != ("inception_dwconv", "triton") or dtype is None:
        return ()
    size, ratio = int(point["kernel_size"]), Fraction(str(point["ratio"]))
    finer: Row = {"kernel_size": 0 if size == 11 else size, "ratio": "" if ratio == Fraction(1, 8) else str(ratio)}
    return tuple(
        Spec("inception_dwconv", direction, dtype, str(point["layout"]), str(point["shape"]), **finer)
        for direction in DIRECTIONS.get(str(point["mode"]), ())
    )


def traffic_of(
    measured: Iterable[Mapping[str, Any]], *, trace: bool = False, told: Callable[[Row], None] | None = None
) -> dict[Spec, Row]:
    """What is known of the traces that the measured points need: the committed ones, and with ``trace`` new ones too.

    A committed row counts where its sources are the present ones. A new trace takes seconds; results are kept.
    """
    wanted = dict.fromkeys(spec for point in measured for spec in specs_of(point))
    if not wanted:
        return {}
    from benchbench.access import baseline, rows

    known = {spec: row for spec, row in baseline.standing_traffic().items() if spec in wanted}
    missing = [spec for spec in wanted if spec not in known] if trace else []
    return known | dict(zip(missing, rows.traffic_rows(missing, told=told), strict=True))


AXES = ("case", "kernel_size", "ratio", "shape", "batch", "precision", "layout", "mode", "backend")


def traced_bytes(measured: Iterable[Mapping[str, Any]], traffic: Mapping[Spec, Mapping[str, Any]]) -> dict[str, float]:
    """key -> bytes of the points whose kernels were traced, for ``roofline.bars``."""
    return {
        str(point["key"]): float(moved)
        for point in measured
        if point.get("mode") in DIRECTIONS
        for moved, provenance in _moved(point, traffic)
        if provenance == "M1"
    }


def _moved(point: Mapping[str, Any], traffic: Mapping[Spec, Mapping[str, Any]]) -> Iterator[tuple[int, str]]:
    """The bytes of the point and where they are from, if they are known."""
    precision, layout = str(point.get("precision")), str(point.get("layout"))
    sizes = branches_of(point)
    if sizes and point.get("backend") == "aten" and precision in PRECISIONS and layout in ("nchw", "nhwc"):
        modes = DIRECTIONS[str(point["mode"])]
        yield sum(stock_bytes(sizes, precision=precision, layout=layout, mode=mode) for mode in modes), "derived"
    specs = specs_of(point)
    if specs and all(spec in traffic for spec in specs):
        images = Fraction(int(point["batch"]), TRACED_BATCH)
        yield int(sum(traffic[spec]["program_sector_bytes"] for spec in specs) * images), "M1"


SIZES = {
    "depthwise_conv": ("batch", "shape", "kernel_size"),
    "partial_depthwise_conv": ("batch", "shape", "kernel_size", "ratio"),
    "inception_dwconv": ("batch", "shape", "kernel_size", "ratio"),
}


def branches_of(point: Mapping[str, Any]) -> Branches | None:
    """The sizes of a measured point of a depthwise operator; None for any other, or one without these axes."""
    case = str(point.get("case"))
    if case not in SIZES or any(point.get(axis) is None for axis in SIZES[case]):
        return None
    channels, height, width = (int(part) for part in str(point["shape"]).split("x"))
    batch, size = int(point["batch"]), int(point["kernel_size"])
    if case == "depthwise_conv":
        return Branches(batch, channels, height, width, channels, ((size, size),), joined=False)
    branch = int(channels * Fraction(str(point["ratio"])))
    kernels = inception_kernels(size) if case == "inception_dwconv" else ((size, size),)
    return Branches(batch, channels, height, width, branch, kernels)
