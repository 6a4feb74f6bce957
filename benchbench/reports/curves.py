"""Throughput as lines: which rows of a run make which line, and how the lines are told apart."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from benchbench import published
from benchbench.reports import names, rows
from benchbench.reports.grid import Dot, Look

if TYPE_CHECKING:
    import pandas

SUBJECTS = ("operators", "networks")
MODES = {
    "forward": "forward",
    "backward": "backward",
    "forward_backward": "forward + backward",
    "infer": "inference",
    "train": "training",
}


def selected(
    results: pandas.DataFrame, *, of: str, precision: str | None
) -> tuple[str, pandas.DataFrame, str, list[str]]:
    """The subject, its measured rows in the better layout at one precision, the precision, and notes."""
    if of and of not in SUBJECTS:
        raise ValueError(f"no subject {of!r}: choose operators or networks")
    frame = rows.own(rows.tidy(results))
    of = of or ("operators" if len(rows.operators(frame)) or not len(rows.networks(frame)) else "networks")
    frame = rows.operators(frame) if of == "operators" else rows.networks(frame)
    frame, named, notes = rows.one_precision(frame, precision)
    data = rows.better_layout(rows.measured(frame))
    data = data if of == "operators" else _filled(data)
    data = rows.ordered(data)
    if data.empty:
        notes.append(f"Nothing to draw: no {of} were measured.")
    both = data[data["layouts"].str.contains(",").astype(bool)] if len(data) else data
    if len(both):
        counts = both["layout"].value_counts()
        won = ", ".join(f"{layout} for {counts[layout]} points" for layout in sorted(counts.index))
        notes.append(f"The better of both memory formats: {won}; the table names it for each.")
    return of, data, named, notes + rows.not_measured(frame)


def looks(data: pandas.DataFrame, subject: Callable[[dict[Any, Any]], tuple[Any, ...]]) -> dict[str, Look]:
    """A look for each series: colour and marker by its subject, hollow and dashed for stock where there are others."""
    records = data.to_dict("records")
    numbers = {one: number for number, one in enumerate(_ordered({subject(row) for row in records}))}
    found: dict[str, Look] = {}
    for row in sorted(records, key=lambda row: (numbers[subject(row)], str(row["series"]))):
        number = numbers[subject(row)]
        stock = not names.variant(rows.value(row["backend"]), rows.value(row["compile"]))
        found.setdefault(str(row["series"]), Look(number, number, solid=not stock))
    several = len({look.solid for look in found.values()}) > 1
    return found if several else {name: Look(look.colour, look.marker) for name, look in found.items()}


def _ordered(subjects: set[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """All operations or networks at the paper's ratio first, so that they look alike on every chart, then the rest."""
    by_name: dict[Any, list[tuple[Any, ...]]] = {}
    for subject in sorted(subjects):
        by_name.setdefault(subject[0], []).append(subject)
    for name, same in by_name.items():
        by_name[name] = sorted(
            same, key=lambda one: (one[1:] not in (("1",), ("1/8",)), *(-Fraction(r) for r in one[1:]))
        )
    return sorted(subjects, key=lambda one: (by_name[one[0]].index(one), one))


def tabled(data: pandas.DataFrame) -> pandas.DataFrame:
    """The columns that a chart's CSV has."""
    columns = ["series", "case", *rows.AXES, "layouts", "throughput_img_per_s", "throughput_low_img_per_s"]
    columns += ["throughput_high_img_per_s", "median_s", "low_s", "high_s", "bytes_per_s", "rounds", "key"]
    return data.reindex(columns=columns).reset_index(drop=True)


def dot(row: dict[Any, Any], *, x: float, panel_row: str, panel_column: str) -> Dot:
    """The row as a dot of a line."""
    return Dot(
        row=panel_row,
        column=panel_column,
        series=str(row["series"]),
        x=x,
        y=float(row["throughput_img_per_s"]),
        low=rows.value(row["throughput_low_img_per_s"]),
        high=rows.value(row["throughput_high_img_per_s"]),
    )


def mode_of(row: dict[Any, Any]) -> str:
    """The mode in words."""
    return MODES.get(str(row["mode"]), str(row["mode"]))


def with_variant(text: str, row: dict[Any, Any]) -> str:
    """The text with what is not stock PyTorch in eager mode behind it."""
    what = names.variant(rows.value(row["backend"]), rows.value(row["compile"]))
    return f"{text} · {what}" if what else text


def _filled(data: pandas.DataFrame) -> pandas.DataFrame:
    """Networks with their own kernel size and ratio where none was asked; those that have neither are left out."""
    full = [
        published.combination(str(row["model"]), rows.whole(row["kernel_size"]), rows.value(row["ratio"]))
        for row in data.to_dict("records")
    ]
    sizes = [float("nan") if size is None else float(size) for _, size, _ in full]
    shares: Any = [share for _, _, share in full]
    found = data.assign(kernel_size=sizes, ratio=shares)
    return found[found["kernel_size"].notna()]
