"""Which rows of the results a chart draws: the networks or the operators, one precision, the better of both layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchbench.stats import MEASURES, parts_of

if TYPE_CHECKING:
    import pandas

AXES = (
    "model",
    "kernel_size",
    "ratio",
    "shape",
    "batch",
    "img_size",
    "precision",
    "layout",
    "mode",
    "backend",
    "compile",
    "cache",
    "optimizer",
)
MEASURED = (
    "median_s",
    "low_s",
    "high_s",
    "throughput_img_per_s",
    "throughput_low_img_per_s",
    "throughput_high_img_per_s",
    "bytes_per_s",
    "flops_per_s",
    "work_bytes",
    "work_flops",
    "within_spread",
    "between_spread",
    "host_median_s",
    "forward_s",
    "backward_s",
    "optimizer_s",
    "parts_share",
    "peak_memory_bytes",
    "energy_j",
    "joules_per_image",
    "joules_low_per_image",
    "joules_high_per_image",
    "items",
    "compile_s",
)
OTHER = (
    "key",
    "case",
    "version",
    "status",
    "reason",
    "rounds",
    "samples",
    "warmup_class",
    "capped",
    "backend_ran",
    "clock",
)
# The paper's precision first; then from the widest to the narrowest.
MODE_ORDER = ("forward", "backward", "forward_backward", "train", "infer")
PRECISIONS = ("tf32", "fp32", "amp-fp16", "amp-bf16", "amp", "fp16", "bf16")


def tidy(results: pandas.DataFrame) -> pandas.DataFrame:
    """A copy with every column a report reads; one that the run did not have is empty."""
    import pandas

    frame = results.reset_index(drop=True).copy()
    for name in (*OTHER, *AXES, *MEASURED):
        if name not in frame.columns:
            frame[name] = None
    for name in (*MEASURED, "kernel_size", "batch", "img_size", "rounds", "samples"):
        frame[name] = pandas.to_numeric(frame[name], errors="coerce")
    return frame


def value(cell: Any) -> Any:
    """A cell as a plain value: None for what is missing (NaN, NaT, empty text)."""
    import pandas

    if cell is None or cell is pandas.NaT or (isinstance(cell, float) and cell != cell) or cell is pandas.NA:
        return None
    return None if cell == "" else cell


def whole(cell: Any) -> int | None:
    """A cell as a whole number, or None."""
    found = value(cell)
    return None if found is None else int(found)


def networks(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The rows about networks: those that have a model, and no shape, which a block of a network has."""
    has = {name: frame[name].map(lambda cell: value(cell) is not None).astype(bool) for name in ("model", "shape")}
    return frame[has["model"] & ~has["shape"]]


def operators(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The rows about operators: those that have a shape and a kernel size, and no model."""
    has = {name: frame[name].map(lambda cell: value(cell) is not None).astype(bool) for name in ("model", "shape")}
    return frame[~has["model"] & has["shape"] & frame["kernel_size"].notna()]


def measured(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The rows that a chart may draw: right, finished and with a time."""
    return frame[(frame["status"] == "ok") & frame["median_s"].notna()]


def is_imported(row: Mapping[Any, Any]) -> bool:
    """Whether another tool measured the row, on whatever machine: its clock says so."""
    return bool(value(row.get("clock")) == "imported")


def own(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The rows that this suite measured: what another tool published is never compared with them in words."""
    return frame[frame["clock"] != "imported"]


def one_precision(frame: pandas.DataFrame, wanted: str | None = None) -> tuple[pandas.DataFrame, str, list[str]]:
    """The rows of one precision, its name, and a note where there are others.

    Without a wish: tf32, the paper's, where it was measured, else the widest that was. Raises ValueError, naming those
    there are, where the wanted one was not measured.
    """
    present = distinct(frame, "precision")
    if not present:
        return frame, wanted or "", []
    if wanted is not None and wanted not in present:
        raise ValueError(f"nothing was measured at {wanted}: the run has {', '.join(sorted(present))}")
    good = distinct(measured(frame), "precision") or present
    chosen = wanted or min(good, key=lambda name: (PRECISIONS.index(name) if name in PRECISIONS else 99, name))
    others = sorted(set(present) - {chosen})
    notes = [f"One precision a chart: this is {chosen}; the run also has {', '.join(others)}."] if others else []
    return frame[frame["precision"] == chosen], chosen, notes


def axes_of(frame: pandas.DataFrame) -> list[str]:
    """The columns that tell points apart: every axis, those of a user's case included, and the arm of a comparison."""
    known = (*OTHER, *MEASURED, *MEASURES, *parts_of(frame.columns).values())
    return [str(name) for name in frame.columns if name not in known]


def better_layout(frame: pandas.DataFrame) -> pandas.DataFrame:
    """One row a point: of those that differ in nothing but the memory format the fastest, ``layouts`` naming all."""
    if frame.empty:
        return frame.assign(layouts=[])
    axes = ["case", *(name for name in axes_of(frame) if name != "layout")]
    identity = frame[axes].map(lambda cell: str(value(cell))).agg(";".join, axis=1)
    frame = frame.assign(_identity=identity)
    layouts = frame.groupby("_identity")["layout"].agg(
        lambda cells: ", ".join(sorted({str(c) for c in cells if value(c)}))
    )
    best = frame.sort_values(["median_s", "layout"], kind="stable").drop_duplicates("_identity").sort_index()
    return best.assign(layouts=best["_identity"].map(layouts)).drop(columns="_identity")


def distinct(frame: pandas.DataFrame, name: str) -> list[Any]:
    """The values of a column in order of first appearance, without the missing ones."""
    return list(dict.fromkeys(found for cell in frame[name] if (found := value(cell)) is not None))


def not_measured(frame: pandas.DataFrame) -> list[str]:
    """A note that counts the rows that no chart draws, by status; nothing where all is well."""
    bad = frame[frame["status"] != "ok"]
    if bad.empty:
        return []
    counts = bad["status"].value_counts()
    listed = ", ".join(f"{counts[status]} {status}" for status in sorted(counts.index))
    return [f"Not drawn, in the table with the reason: {listed}."]


def ordered(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The rows in an order for readers: networks, operators by stage, then the rest; forward before backward."""
    keys = [_order(row) for row in frame.to_dict("records")]
    return frame.iloc[sorted(range(len(keys)), key=keys.__getitem__)]


def _order(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    model, size, mode = value(row["model"]), value(row["shape"]), str(value(row["mode"]))
    pixels = [int(part) for part in str(size).split("x")[1:] if part.isdigit()] if size else []
    kind = 0 if model is not None else 1 if size else 2
    settings = tuple(str(value(row[axis])) for axis in ("precision", "layout", "backend", "compile", "key"))
    share = str(value(row["ratio"]) or "1")
    place = MODE_ORDER.index(mode) if mode in MODE_ORDER else 99
    names = (str(row["case"]), str(model)) if kind else (str(model), "")
    return (
        kind,
        [-side for side in pixels],
        *names,
        place,
        share != "1",
        share,
        whole(row["kernel_size"]) or 0,
        *settings,
    )


def told_apart(frame: pandas.DataFrame, name: str, within: Sequence[str] = ()) -> pandas.DataFrame:
    """The frame with the column ``name`` extended where rows share it and yet differ: "ResNet-50 · batch 64".

    within: columns that tell rows of one name apart already, such as the x of a line. Any axis in which the sharers
    differ, a user's own included, is named behind all of that name.
    """
    axes = [axis for axis in axes_of(frame) if axis not in (name, "layout", "layouts", *within)]
    texts = {axis: [_setting(cell) for cell in frame[axis]] for axis in axes}
    called = [str(cell) for cell in frame[name]]
    places = list(zip(called, *([str(cell) for cell in frame[column]] for column in within), strict=True))
    differing: dict[str, set[str]] = {}
    groups: dict[tuple[str, ...], list[int]] = {}
    for position, place in enumerate(places):
        groups.setdefault(place, []).append(position)
    for place, positions in groups.items():
        varying = {axis for axis in axes if len({texts[axis][p] for p in positions}) > 1}
        differing.setdefault(place[0], set()).update(varying)
    extended = [
        " · ".join([text, *(f"{axis.replace('_', ' ')} {texts[axis][p]}" for axis in axes if axis in differing[text])])
        for p, text in enumerate(called)
    ]
    return frame.assign(**{name: extended})


def _setting(cell: Any) -> str:
    found = value(cell)
    return str(int(found) if isinstance(found, float) and found.is_integer() else found)


def shared(frame: pandas.DataFrame, said_already: str = "", first: str = "") -> list[str]:
    """What all rows share, in words: ``first``, "batch 128", "224 px"; without what ``said_already`` says."""
    said = [first] if first else []
    for name, text in (("batch", "batch {}"), ("img_size", "{} px")):
        found = distinct(frame, name) if name in frame.columns else []
        if len(found) == 1:
            said.append(text.format(int(found[0])))
    return [text for text in said if text not in said_already]
