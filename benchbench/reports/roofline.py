"""How near to the measured roofs is each point? Bars from the least bytes to the best known ones, under the roofs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchbench import units
from benchbench.reports import names, rows
from benchbench.reports.chart import Chart
from benchbench.reports.grid import short
from benchbench.reports.labels import Label, label_points
from benchbench.reports.sheet import sheet, words
from benchbench.reports.theme import Theme, colour, marker, marker_size, plain, style, text_colour
from benchbench.reports.theme import theme as theme_named

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("name", "case", "flops_per_s", "least_bytes", "known_bytes", "provenance", "intensity_high", "intensity_low")
PROVENANCE = {
    "M0": "least bytes, from the mathematics",
    "M1": "traced",
    "M2": "time x copy rate, an upper bound",
    "M3": "imported counters",
    "M4": "live counters",
}
# More points than this have no room for all their names.
_MOST_LABELS = 16


def roofline(
    points: pandas.DataFrame,
    roofs: Mapping[str, Any],
    *,
    theme: str = "light",
    conditions: str = "",
) -> Chart:
    """Flops a second against flops a byte, both logarithmic: a bar for each point, with its provenance letter.

    points: one row a point with the columns of ``access.roofline.Bar`` and ``name`` (else its key) and ``case``; the
    bar reaches from intensity_low (best-known bytes) to intensity_high (least bytes). roofs: the fields of
    ``access.roofline.Roofs``, memory_bytes_per_s, cache_bytes_per_s and fma_flops_per_s among them; None for a roof
    that was not measured. Data-sheet values are no roofs and are not drawn.
    """
    chosen = theme_named(theme)
    data = _tidy(points)
    good = data[(data["flops_per_s"] > 0) & (data["intensity_high"] > 0) & (data["intensity_low"] > 0)]
    notes = _notes(data, good, roofs)
    with style(chosen):
        figure = _draw(good, roofs, chosen, subtitle=[words(conditions)], notes=notes)
    return Chart("roofline", figure, data, notes, theme)


def _tidy(points: pandas.DataFrame) -> pandas.DataFrame:
    import pandas

    data = points.reset_index(drop=True).copy()
    for column in (*COLUMNS, "key", "limiter", "share_of_memory_roof", "share_of_fma_roof", "doubt"):
        if column not in data.columns:
            data[column] = None
    for column in ("flops_per_s", "least_bytes", "known_bytes", "intensity_high", "intensity_low"):
        data[column] = pandas.to_numeric(data[column], errors="coerce")
    said = [rows.value(name) or rows.value(key) or "" for name, key in zip(data["name"], data["key"], strict=True)]
    data["name"] = said
    return data


def _notes(data: pandas.DataFrame, good: pandas.DataFrame, roofs: Mapping[str, Any]) -> list[str]:
    if good.empty:
        return ["Nothing to draw: no point has both bytes and flops."]
    letters = sorted({str(letter) for letter in good["provenance"] if rows.value(letter)})
    listed = "; ".join(f"{letter}: {PROVENANCE.get(letter, 'unknown')}" for letter in letters)
    notes = [f"Each bar reaches from the least bytes (right end) to the best-known bytes (left end). {listed}."]
    limits: dict[str, int] = {}
    for limit in good["limiter"]:
        if rows.value(limit):
            limits[str(limit)] = limits.get(str(limit), 0) + 1
    if limits:
        ordered = sorted(limits.items(), key=lambda item: (-item[1], item[0]))
        notes.append("Limited by: " + "; ".join(f"{limit} ({count})" for limit, count in ordered) + ".")
    missing = [text for name, text in _ROOFS if not rows.value(roofs.get(name))]
    if missing:
        notes.append(f"Not measured in this run, hence not drawn: {', '.join(missing)}.")
    doubts = sum(1 for doubt in good["doubt"] if rows.value(doubt))
    if doubts:
        notes.append(f"{doubts} points are in doubt: faster than their least bytes allow; the table says why.")
    if len(good) > _MOST_LABELS:
        notes.append(f"Of each operation the fastest and the slowest point are named; the table has all {len(good)}.")
    return notes + (
        [f"{len(data) - len(good)} points without flops or bytes are in the table only."]
        if len(data) > len(good)
        else []
    )


_ROOFS = (("memory_bytes_per_s", "memory roof"), ("fma_flops_per_s", "float32 multiply-add roof"))


def _draw(
    good: pandas.DataFrame, roofs: Mapping[str, Any], chosen: Theme, *, subtitle: Sequence[str], notes: Sequence[str]
) -> Figure:
    cases = sorted({str(case) for case in good["case"]})
    look = {case: number for number, case in enumerate(cases)}
    handles = [_handle(case, look[case], chosen) for case in cases] if len(cases) > 1 else []
    figure, axes = sheet(
        chosen,
        title="Roofline: what was reached of what this machine can do",
        subtitle=[line for line in subtitle if line],
        notes=notes,
        handles=handles,
        widths=(6.6,),
        heights=(4.2,),
        left=0.75,
    )
    panel = axes[0][0]
    panel.set_xlabel("arithmetic intensity (flop/B)")
    panel.set_ylabel("arithmetic done (flop/s)")
    if good.empty:
        panel.text(0.5, 0.5, "nothing to draw", transform=panel.transAxes, ha="center", color=chosen.muted)
        return figure
    _limits(panel, good, roofs)
    segments = _roofs(panel, roofs, chosen)
    records = good.sort_values("flops_per_s", ascending=False, kind="stable").to_dict("records")
    for row in records:
        segments.append(_bar(panel, row, look[str(row["case"])], chosen))
    labels = [
        Label(
            float(row["intensity_high"]),
            float(row["flops_per_s"]),
            plain(f"{row['name']} {rows.value(row['provenance']) or ''}".strip()),
            text_colour(look[str(row["case"])], chosen),
            size=6.2,
        )
        for row in _named(records)
    ]
    points = [(float(row["intensity_high"]), float(row["flops_per_s"])) for row in records]
    label_points(panel, labels, chosen, points=points, segments=segments, radius=3.6)
    return figure


def _named(records: Sequence[Mapping[Any, Any]]) -> list[Mapping[Any, Any]]:
    """The points, fastest first, that have their names beside them: all, or the first and last of each operation."""
    if len(records) <= _MOST_LABELS:
        return list(records)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for place, row in enumerate(records):
        first.setdefault(str(row["case"]), place)
        last[str(row["case"])] = place
    return [records[place] for place in sorted({*first.values(), *last.values()})]


def _limits(panel: Axes, good: pandas.DataFrame, roofs: Mapping[str, Any]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    panel.set_xscale("log")
    panel.set_yscale("log")
    memory, arithmetic = rows.value(roofs.get("memory_bytes_per_s")), rows.value(roofs.get("fma_flops_per_s"))
    low, high = float(good["intensity_low"].min()), float(good["intensity_high"].max())
    ridge = arithmetic / memory if memory and arithmetic else high
    panel.set_xlim(low / 2, 2 * max(high, ridge))
    tops = [float(good["flops_per_s"].max()), *([arithmetic] if arithmetic else [])]
    panel.set_ylim(float(good["flops_per_s"].min()) / 2.5, 2.2 * max(tops))
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.xaxis.set_minor_formatter("")
    panel.yaxis.set_minor_formatter("")
    panel.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: short(tick)))


def _roofs(panel: Axes, roofs: Mapping[str, Any], chosen: Theme) -> list[tuple[float, float, float, float]]:
    """The measured roofs, each named on its line: bandwidths as slopes, rates of arithmetic as levels."""
    left, right = panel.get_xlim()
    level = rows.value(roofs.get("fma_flops_per_s"))
    drawn: list[tuple[float, float, float, float]] = []
    for name, text, dashes in (
        ("memory_bytes_per_s", "copy", "-"),
        ("cache_bytes_per_s", "copy in cache", (0, (4, 2))),
    ):
        rate = rows.value(roofs.get(name))
        if rate:
            end = min(right, level / rate) if level else right
            panel.plot([left, end], [left * rate, end * rate], color=chosen.ink, lw=1.1, ls=dashes, zorder=2)
            drawn.append((left, left * rate, end, end * rate))
            _along(panel, left, rate, f"{text} {units.bandwidth_text(rate)}", chosen)
    if level:
        memory = rows.value(roofs.get("memory_bytes_per_s"))
        start = max(left, level / memory) if memory else left
        panel.plot([start, right], [level, level], color=chosen.ink, lw=1.1, zorder=2)
        drawn.append((start, level, right, level))
        words_ = f"float32 multiply-add {units.compute_text(level)}"
        panel.annotate(
            words_, (right, level), (-3, 3), textcoords="offset points", ha="right", fontsize=6.5, color=chosen.ink
        )
    return drawn


def _along(panel: Axes, left: float, rate: float, text: str, chosen: Theme) -> None:
    """A name on a slope, turned with it."""
    low = panel.get_ylim()[0]
    start = max(left * 1.08, 1.3 * low / rate)
    (x0, y0), (x1, y1) = panel.transData.transform([(start, start * rate), (10 * start, 10 * start * rate)])
    angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
    turned: dict[str, Any] = {"rotation": angle, "rotation_mode": "anchor", "va": "bottom", "ha": "left"}
    panel.annotate(
        text, (start, start * rate), (0, 2.5), textcoords="offset points", fontsize=6.5, color=chosen.ink, **turned
    )


def _bar(panel: Axes, row: Mapping[Any, Any], number: int, chosen: Theme) -> tuple[float, float, float, float]:
    ink, shape = colour(number, chosen), marker(number)
    low, high, level = float(row["intensity_low"]), float(row["intensity_high"]), float(row["flops_per_s"])
    # A bound is no count: thin and pale, and without an end.
    known = row["provenance"] != "M2"
    thick, alpha = (1.6, 0.55) if known else (0.7, 0.3)
    panel.plot([low, high], [level, level], color=ink, lw=thick, alpha=alpha, solid_capstyle="butt", zorder=3)
    if known:
        panel.plot(low, level, "|", color=ink, ms=5, mew=1.2, zorder=3)
    panel.plot(high, level, shape, color=ink, ms=marker_size(shape, 4.6), mec=chosen.paper, mew=0.4, zorder=4)
    return low, level, high, level


def _handle(case: str, number: int, chosen: Theme) -> Any:
    from matplotlib.lines import Line2D

    shape = marker(number)
    return Line2D(
        [],
        [],
        color=colour(number, chosen),
        marker=shape,
        ms=marker_size(shape, 4.6),
        label=plain(names.operation(case)),
    )
