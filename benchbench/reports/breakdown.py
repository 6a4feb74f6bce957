"""Where does the time of a block go? Mixer, norm, MLP and the rest, stacked, beside the whole block as measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchbench import units
from benchbench.reports import names, rows
from benchbench.reports.chart import Chart
from benchbench.reports.curves import MODES
from benchbench.reports.sheet import sheet, words
from benchbench.reports.theme import Theme, colour, plain, style
from benchbench.reports.theme import theme as theme_named

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WHOLE = "block"
PARTS = ("mixer", "norm", "mlp", "rest")
# Parts that sum to something else than the block by more than this were not measured as they run inside it.
TOLERANCE = 0.05
# A part narrower than this share of the widest bar has no room for its share.
_NAMED = 0.05


def breakdown(
    results: pandas.DataFrame, *, precision: str | None = None, theme: str = "light", conditions: str = ""
) -> Chart:
    """Milliseconds of each part of a block, stacked, one bar a network, shape and mode; a tick and its interval for the
    whole block as measured.

    results: the frame of ``stats.results`` with a column ``part``: mixer, norm, mlp, rest, or "block" for the whole;
    any other name is a part too. A bar whose parts miss the block by more than 5 % is named in the notes. Raises
    ValueError for another theme and for a precision that was not measured.
    """
    chosen = theme_named(theme)
    frame = rows.tidy(results)
    frame = frame[frame["part"].notna()] if "part" in frame.columns else frame.iloc[:0].assign(part=[])
    frame, named, notes = rows.one_precision(frame, precision)
    good = rows.ordered(rows.measured(frame))
    data = good.assign(bar=[_bar_name(row) for row in good.to_dict("records")])
    data = rows.told_apart(data, "bar", ("part",))
    bars = {bar: _parts(data[data["bar"] == bar]) for bar in dict.fromkeys(data["bar"])}
    notes = [*_sums(bars), *notes, *rows.not_measured(frame)]
    with style(chosen):
        about = words(conditions, *rows.shared(good, conditions, named))
        figure = _draw(bars, chosen, subtitle=about, notes=notes)
    columns = ["bar", "part", "case", *rows.AXES, "median_s", "low_s", "high_s", "rounds", "key"]
    return Chart("breakdown", figure, data.reindex(columns=columns).reset_index(drop=True), notes, theme)


def _bar_name(row: Mapping[Any, Any]) -> str:
    model = rows.value(row["model"])
    who = names.network(str(model)) if model else names.operation(str(row["case"]))
    what = [who, rows.value(row["shape"]), MODES.get(str(row["mode"]), str(row["mode"])), rows.value(row["layout"])]
    what.append(names.variant(rows.value(row["backend"]), rows.value(row["compile"])))
    return ", ".join(str(word) for word in what if word)


def _parts(data: pandas.DataFrame) -> dict[str, Mapping[Any, Any]]:
    return {str(row["part"]): row for row in data.to_dict("records")}


def _sums(bars: Mapping[str, Mapping[str, Mapping[Any, Any]]]) -> list[str]:
    if not bars:
        return ["Nothing to draw: no block was taken apart (bench sweep breakdown)."]
    notes, off, unknown = [], [], []
    for bar, parts in bars.items():
        whole = parts.get(WHOLE)
        total = _total(parts)
        if whole is None or total == 0:
            unknown.append(bar)
            continue
        ratio = total / float(whole["median_s"])
        if abs(ratio - 1) > TOLERANCE:
            off.append(f"{bar} ({units.change_text(ratio)})")
    if off:
        notes.append(f"The parts do not sum to the block within {units.share_text(TOLERANCE)}: {'; '.join(off)}.")
    elif len(unknown) < len(bars):
        notes.append(f"The parts sum to the measured block within {units.share_text(TOLERANCE)}.")
    if unknown:
        notes.append(f"Not comparable with a whole block, or without parts: {'; '.join(unknown)}.")
    return notes


def _total(parts: Mapping[str, Mapping[Any, Any]]) -> float:
    return sum(float(row["median_s"]) for part, row in parts.items() if part != WHOLE)


def _draw(
    bars: Mapping[str, Mapping[str, Mapping[Any, Any]]], chosen: Theme, *, subtitle: str, notes: Sequence[str]
) -> Figure:
    from matplotlib.patches import Patch

    known = {part for parts in bars.values() for part in parts} - {WHOLE}
    order = [*(part for part in PARTS if part in known), *sorted(known - set(PARTS))]
    inks = {part: colour(number, chosen) for number, part in enumerate(order)}
    longest = max((len(bar) for bar in bars), default=8)
    figure, axes = sheet(
        chosen,
        title="Where the time of a block goes",
        subtitle=[subtitle] if subtitle else [],
        notes=notes,
        handles=[Patch(color=ink, label=plain(part)) for part, ink in inks.items()],
        widths=(5.2,),
        heights=(max(1.0, 0.3 * len(bars) + 0.2),),
        left=0.4 + 0.062 * min(longest, 60),
    )
    panel = axes[0][0]
    panel.set_xlabel("time of a call (ms); tick: the whole block")
    if not bars:
        panel.text(0.5, 0.5, "nothing to draw", transform=panel.transAxes, ha="center", color=chosen.muted)
        return figure
    longest_s = max(_total(parts) for parts in bars.values())
    for place, parts in enumerate(bars.values()):
        _stack(panel, place, parts, inks, chosen, longest=longest_s)
    panel.set_yticks(range(len(bars)), [plain(bar) for bar in bars])
    panel.set_ylim(len(bars) - 0.4, -0.6)
    panel.grid(axis="y", visible=False)
    panel.set_xlim(0, panel.get_xlim()[1] * 1.03)
    return figure


def _stack(
    panel: Axes,
    place: int,
    parts: Mapping[str, Mapping[Any, Any]],
    inks: Mapping[str, str],
    chosen: Theme,
    *,
    longest: float,
) -> None:
    total = _total(parts)
    start = 0.0
    for part, ink in inks.items():
        if part not in parts:
            continue
        width = float(parts[part]["median_s"])
        panel.barh(place, 1e3 * width, 0.62, left=1e3 * start, color=ink, edgecolor=chosen.paper, lw=0.6, zorder=3)
        if width > _NAMED * longest:
            share = f"{100 * width / total:.0f} %"
            middle = 1e3 * (start + width / 2)
            panel.text(middle, place, share, ha="center", va="center", fontsize=6, color="#ffffff", zorder=4)
        start += width
    whole = parts.get(WHOLE)
    if whole is not None:
        middle, low, high = (rows.value(whole[name]) for name in ("median_s", "low_s", "high_s"))
        panel.plot([1e3 * middle] * 2, [place - 0.4, place + 0.4], color=chosen.ink, lw=1.6, zorder=5)
        if low is not None and high is not None:
            ends = [[1e3 * max(0.0, middle - low)], [1e3 * max(0.0, high - middle)]]
            panel.errorbar(
                1e3 * middle, place, xerr=ends, fmt="none", ecolor=chosen.ink, elinewidth=0.9, capsize=2, zorder=5
            )
