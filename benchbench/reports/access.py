"""The paper's argument in one picture: each convolution's least bytes, stock's and ours, and the time beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchbench.reports import rows
from benchbench.reports.chart import Chart
from benchbench.reports.curves import MODES
from benchbench.reports.grid import cut, far_enough
from benchbench.reports.limits import Controls, controls, limit, summary
from benchbench.reports.roofline import PROVENANCE
from benchbench.reports.sheet import sheet, words
from benchbench.reports.table import name
from benchbench.reports.theme import Theme, colour, plain, style
from benchbench.reports.theme import theme as theme_named

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Which backend stands for stock and which for ours, in the order of the bars.
BACKENDS = (("aten", "stock"), ("triton", "ours"))
_IDENTITY = ("case", "kernel_size", "ratio", "shape", "mode", "backend")
# What bytes may also depend on: compared where ``moved`` has it.
_FINER = ("batch", "precision", "layout")
_BAR = 0.36


@dataclass(frozen=True, slots=True)
class _Group:
    """One convolution: its least bytes, and for each backend (bytes, provenance, seconds, low, high)."""

    label: str
    floor: float
    backends: Mapping[str, tuple[float | None, str, float, float | None, float | None]]


def access(
    results: pandas.DataFrame,
    moved: pandas.DataFrame | None = None,
    *,
    shape: str = "",
    mode: str = "",
    precision: str | None = None,
    theme: str = "light",
    conditions: str = "",
    cache_bytes: float | None = None,
) -> Chart:
    """Bytes and time of every operation, kernel size and ratio at one shape and mode, stock beside ours.

    results: the frame of ``stats.results``; a point's floor is its work_bytes. moved: bytes that a call moves where
    they are known, one row with case, kernel_size, ratio, shape, mode, backend, bytes and provenance (M1, M3, M4 or
    derived), and batch, precision and layout where bytes depend on them; elsewhere the upper bound time x copy rate
    (M2), drawn pale, if the run has copies. shape, mode: the first of the run unless named. cache_bytes: of the
    machine's last-level cache, which decides what copies a cold point is held against. Raises ValueError for a shape,
    mode, theme or precision that was not measured.
    """
    chosen = theme_named(theme)
    frame = rows.operators(rows.tidy(results))
    frame, named, notes = rows.one_precision(frame, precision)
    good = rows.ordered(rows.better_layout(rows.measured(frame)))
    good = good[good["backend"].isin([backend for backend, _ in BACKENDS])]
    good, shape, others = _only(good, "shape", shape)
    good, mode, more = _only(good, "mode", mode)
    known = controls(results, cache_bytes)
    data = _with_bytes(good, moved, known)
    groups = _groups(data)
    seconds, ends = _times(groups)
    about = [*_notes(data), *cut((end, far_enough(seconds, ends)) for end in ends), *summary(good, known)]
    notes = [*about, *others, *more, *notes, *rows.not_measured(frame)]
    with style(chosen):
        subtitle = words(conditions, shape, MODES.get(mode, mode), *rows.shared(good, conditions, named))
        figure = _draw(groups, chosen, subtitle=subtitle, notes=notes)
    return Chart("access", figure, data.drop(columns=["layouts"], errors="ignore"), notes, theme)


def _only(frame: pandas.DataFrame, column: str, wanted: str) -> tuple[pandas.DataFrame, str, list[str]]:
    """The rows with one value in a column, that value, and a note about the others."""
    present = [str(found) for found in rows.distinct(frame, column)]
    if wanted and wanted not in present:
        raise ValueError(f"nothing was measured at {column} {wanted}: the run has {', '.join(present) or 'nothing'}")
    if not present:
        return frame, wanted, []
    one = wanted or present[0]
    others = [value for value in present if value != one]
    notes = [f"One {column} a chart: this is {one}; the run also has {', '.join(others)}."] if others else []
    return frame[frame[column].astype(str) == one], one, notes


def _with_bytes(good: pandas.DataFrame, moved: pandas.DataFrame | None, known: Controls) -> pandas.DataFrame:
    """Adds label, floor_bytes, moved_bytes, provenance, and limited_by in words."""
    known_by = (*_IDENTITY, *(column for column in _FINER if moved is not None and column in moved.columns))
    counted: dict[tuple[str, ...], tuple[float, str]] = {}
    for row in [] if moved is None else moved.to_dict("records"):
        counted[_identity(row, known_by)] = (float(row["bytes"]), str(row["provenance"]))
    found: list[tuple[float | None, str]] = []
    records = good.to_dict("records")
    for row in records:
        least, rate = rows.value(row["work_bytes"]), known.copy_rate_at(row)
        bound = (max(float(row["median_s"]) * rate, least), "M2") if rate and least else (None, "")
        found.append(counted.get(_identity(row, known_by), bound))
    columns: dict[str, Any] = {
        "label": [name({**row, "shape": None}) for row in records],
        "floor_bytes": [rows.value(row["work_bytes"]) for row in records],
        "moved_bytes": [size for size, _ in found],
        "provenance": [letter for _, letter in found],
        "limited_by": [limit(row, known) for row in records],
    }
    named = rows.told_apart(good.assign(label=columns.pop("label")), "label", ("backend",))
    return named.assign(**columns)


def _identity(row: Mapping[Any, Any], columns: Sequence[str]) -> tuple[str, ...]:
    values = [rows.value(row.get(column)) for column in columns]
    return tuple(str(int(v)) if isinstance(v, float) else str(v) for v in values)


def _groups(data: pandas.DataFrame) -> list[_Group]:
    found: dict[str, _Group] = {}
    ordered = sorted(data.to_dict("records"), key=lambda row: (str(row["case"]), str(row["ratio"]), row["kernel_size"]))
    for row in ordered:
        floor = rows.value(row["floor_bytes"])
        group = found.get(row["label"]) or _Group(row["label"], float(floor or 0), {})
        bar = (
            rows.value(row["moved_bytes"]),
            str(row["provenance"]),
            float(row["median_s"]),
            rows.value(row["low_s"]),
            rows.value(row["high_s"]),
        )
        found[row["label"]] = _Group(group.label, group.floor, {**group.backends, str(row["backend"]): bar})
    return list(found.values())


def _times(groups: Sequence[_Group]) -> tuple[list[float], list[float | None]]:
    """Seconds of every bar, and the high ends of their intervals."""
    bars = [bar for group in groups for bar in group.backends.values()]
    return [seconds for _, _, seconds, _, _ in bars], [high for *_, high in bars]


def _notes(data: pandas.DataFrame) -> list[str]:
    if data.empty:
        return ["Nothing to draw: no operators were measured."]
    letters = sorted({letter for letter in data["provenance"] if letter})
    said = {**PROVENANCE, "derived": "from the rules by which PyTorch dispatches on a GPU"}
    notes = ["Ticks: the least bytes, each input read once and each output written once."]
    if letters:
        notes.append("Bytes, by provenance: " + "; ".join(f"{one}: {said.get(one, one)}" for one in letters) + ".")
    if any(not letter for letter in data["provenance"]):
        notes.append(
            "Bars are missing where nothing is known of the bytes: neither traced nor bounded by a copy of this run."
        )
    return notes


def _draw(groups: Sequence[_Group], chosen: Theme, *, subtitle: str, notes: Sequence[str]) -> Figure:
    from matplotlib.patches import Patch

    present = [one for one in BACKENDS if any(one[0] in group.backends for group in groups)]
    handles = [Patch(color=_ink(backend, chosen), label=text) for backend, text in present]
    longest = max((len(group.label) for group in groups), default=8)
    figure, axes = sheet(
        chosen,
        title="Bytes moved and time taken",
        subtitle=[subtitle] if subtitle else [],
        notes=notes,
        handles=handles if groups else [],
        widths=(2.9, 2.9),
        heights=(max(1.2, 0.34 * len(groups) + 0.2),),
        left=0.4 + 0.062 * longest,
        gap=(0.3, 0.3),
        sharey=True,
    )
    left, right = axes[0]
    left.set_xlabel("bytes moved by a call (MB)")
    right.set_xlabel("time of a call (ms)")
    right.tick_params(labelleft=False)
    if not groups:
        left.text(0.5, 0.5, "nothing to draw", transform=left.transAxes, ha="center", color=chosen.muted)
        return figure
    for place, group in enumerate(groups):
        left.plot([group.floor / 1e6] * 2, [place - 0.42, place + 0.42], color=chosen.ink, lw=1.6, zorder=5)
        for offset, (backend, _) in zip((-0.2, 0.2) if len(present) == 2 else (0.0,), present, strict=True):
            if backend in group.backends:
                _bars(left, right, place + offset, group.backends[backend], _ink(backend, chosen), chosen)
    left.set_yticks(range(len(groups)), [plain(group.label) for group in groups])
    left.set_ylim(len(groups) - 0.4, -0.6)
    for panel in (left, right):
        panel.grid(axis="y", visible=False)
    left.set_xlim(0, left.get_xlim()[1] * 1.08)
    right.set_xlim(0, 1e3 * far_enough(*_times(groups)))
    return figure


def _bars(
    left: Axes,
    right: Axes,
    place: float,
    bar: tuple[float | None, str, float, float | None, float | None],
    ink: str,
    chosen: Theme,
) -> None:
    size, letter, seconds, low, high = bar
    if size is not None:
        # A bound is no count: pale.
        left.barh(place, size / 1e6, _BAR, color=ink, alpha=0.4 if letter == "M2" else 1.0, lw=0, zorder=3)
        left.annotate(
            letter,
            (size / 1e6, place),
            (2, 0),
            textcoords="offset points",
            va="center",
            fontsize=5.8,
            color=chosen.muted,
        )
    right.barh(place, 1e3 * seconds, _BAR, color=ink, zorder=3)
    if low is not None and high is not None:
        ends = [[1e3 * max(0.0, seconds - low)], [1e3 * max(0.0, high - seconds)]]
        right.errorbar(
            1e3 * seconds, place, xerr=ends, fmt="none", ecolor=chosen.ink, elinewidth=0.9, capsize=1.6, zorder=4
        )


def _ink(backend: str, chosen: Theme) -> str:
    """Stock in the colour of ConvNeXt, ours in that of InceptionNeXt."""
    return colour(0 if backend == "aten" else 1, chosen)
