"""Where does the time of a block go? Mixer, norm, MLP and the rest, stacked, beside the whole block as measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchbench import units
from benchbench.reports import names, rows
from benchbench.reports.chart import Chart
from benchbench.reports.curves import MODES
from benchbench.reports.grid import cut, far_enough
from benchbench.reports.sheet import sheet, words
from benchbench.reports.theme import Theme, colour, plain, style
from benchbench.reports.theme import theme as theme_named
from benchbench.stats import parts_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTS = ("mixer", "norm", "mlp", "rest")
# Where the parts miss the block by more, saying where parts end took too much of its time.
TOLERANCE = 0.05
# A part narrower than this share of the widest bar has no room for its share.
_NAMED = 0.05


def breakdown(
    results: pandas.DataFrame, *, precision: str | None = None, theme: str = "light", conditions: str = ""
) -> Chart:
    """Milliseconds of each part of a block, stacked, one bar a network, shape and mode; a tick and its interval for the
    whole block as measured.

    results: the frame of ``stats.results``; rows with parts (``part_mixer_s`` and the like) are drawn. A bar whose
    parts, timed inside a run of the block, miss the run beside it (``parts_share``) by more than 5 % is named in the
    notes. Raises ValueError for another theme and for a precision that was not measured.
    """
    chosen = theme_named(theme)
    frame = rows.tidy(results)
    columns = parts_of(frame.columns)
    frame = frame[frame[[*columns.values()]].notna().any(axis=1)] if columns else frame.iloc[:0]
    frame, named, notes = rows.one_precision(frame, precision)
    good = rows.ordered(rows.measured(frame))
    data = good.assign(bar=[_bar_name(row) for row in good.to_dict("records")])
    data = rows.told_apart(data, "bar")
    bars = [_Bar(str(row["bar"]), row, _parts(row, columns)) for row in data.to_dict("records")]
    longest, ends = _lengths(bars)
    notes = [*_sums(bars), *cut((end, far_enough(longest, ends)) for end in ends), *notes, *rows.not_measured(frame)]
    with style(chosen):
        about = words(conditions, *rows.shared(good, conditions, named))
        figure = _draw(bars, chosen, subtitle=about, notes=notes)
    kept = ["bar", "case", *rows.AXES, "median_s", "low_s", "high_s", *columns.values(), "parts_share", "rounds", "key"]
    return Chart("breakdown", figure, data.reindex(columns=kept).reset_index(drop=True), notes, theme)


@dataclass(frozen=True, slots=True)
class _Bar:
    """A block: its name, its row, and the seconds of its parts."""

    name: str
    whole: Mapping[Any, Any]
    parts: Mapping[str, float]

    @property
    def total_s(self) -> float:
        return sum(self.parts.values())


def _bar_name(row: Mapping[Any, Any]) -> str:
    model = rows.value(row["model"])
    who = names.network(str(model)) if model else names.operation(str(row["case"]))
    what = [who, rows.value(row["shape"]), MODES.get(str(row["mode"]), str(row["mode"])), rows.value(row["layout"])]
    what.append(names.variant(rows.value(row["backend"]), rows.value(row["compile"])))
    return ", ".join(str(word) for word in what if word)


def _parts(row: Mapping[Any, Any], columns: Mapping[str, str]) -> dict[str, float]:
    """The parts in the order of the block; others, which a user's case may have, after them."""
    order = [*(part for part in PARTS if part in columns), *(part for part in columns if part not in PARTS)]
    return {part: float(row[columns[part]]) for part in order if rows.value(row[columns[part]]) is not None}


def _lengths(bars: Sequence[_Bar]) -> tuple[list[float], list[float | None]]:
    """Seconds of every block and of its parts, and the high ends of the blocks' intervals."""
    lengths = [max(bar.total_s, float(bar.whole["median_s"])) for bar in bars]
    return lengths, [rows.value(bar.whole["high_s"]) for bar in bars]


def _sums(bars: Sequence[_Bar]) -> list[str]:
    if not bars:
        return ["Nothing to draw: no block was taken apart (bench sweep breakdown)."]
    ratios = {bar.name: float(bar.whole["parts_share"]) for bar in bars}
    off = [f"{name} ({units.change_text(ratio)})" for name, ratio in ratios.items() if abs(ratio - 1) > TOLERANCE]
    if off:
        return [f"The parts do not sum to the block within {units.share_text(TOLERANCE)}: {'; '.join(off)}."]
    return [f"The parts sum to the measured block within {units.share_text(TOLERANCE)}."]


def _draw(bars: Sequence[_Bar], chosen: Theme, *, subtitle: str, notes: Sequence[str]) -> Figure:
    from matplotlib.patches import Patch

    known = dict.fromkeys(part for bar in bars for part in bar.parts)
    inks = {part: colour(number, chosen) for number, part in enumerate(known)}
    longest = max((len(bar.name) for bar in bars), default=8)
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
    longest_s = max(bar.total_s for bar in bars)
    for place, bar in enumerate(bars):
        _stack(panel, place, bar, inks, chosen, longest=longest_s)
    panel.set_yticks(range(len(bars)), [plain(bar.name) for bar in bars])
    panel.set_ylim(len(bars) - 0.4, -0.6)
    panel.grid(axis="y", visible=False)
    panel.set_xlim(0, 1e3 * far_enough(*_lengths(bars)))
    return figure


def _stack(panel: Axes, place: int, bar: _Bar, inks: Mapping[str, str], chosen: Theme, *, longest: float) -> None:
    start = 0.0
    for part, ink in inks.items():
        width = bar.parts.get(part, 0.0)
        panel.barh(place, 1e3 * width, 0.62, left=1e3 * start, color=ink, edgecolor=chosen.paper, lw=0.6, zorder=3)
        if width > _NAMED * longest:
            share = f"{100 * width / bar.total_s:.0f} %"
            middle = 1e3 * (start + width / 2)
            panel.text(middle, place, share, ha="center", va="center", fontsize=6, color="#ffffff", zorder=4)
        start += width
    middle, low, high = (rows.value(bar.whole[name]) for name in ("median_s", "low_s", "high_s"))
    panel.plot([1e3 * middle] * 2, [place - 0.4, place + 0.4], color=chosen.ink, lw=1.6, zorder=5)
    if low is not None and high is not None:
        ends = [[1e3 * max(0.0, middle - low)], [1e3 * max(0.0, high - middle)]]
        panel.errorbar(
            1e3 * middle, place, xerr=ends, fmt="none", ecolor=chosen.ink, elinewidth=0.9, capsize=2, zorder=5
        )
