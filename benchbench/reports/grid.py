"""Small multiples: the same lines in panels side by side, one legend for all, spread drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchbench.reports.sheet import sheet
from benchbench.reports.theme import Theme, colour, marker, marker_size, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_WIDTHS = {1: 5.4, 2: 2.9, 3: 2.05, 4: 1.68}
_MOST_TICKS = 8
# A panel is at most so many times as high as its highest point, however wide an interval is.
_ROOM = 2.0


@dataclass(frozen=True, slots=True)
class Dot:
    """A value with its interval, in the panel of this row and column, on this line."""

    row: str
    column: str
    series: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Colour and marker by number; what is not stock is solid and filled, stock is dashed and hollow."""

    colour: int
    marker: int
    solid: bool = True


def grid(
    dots: Sequence[Dot],
    looks: Mapping[str, Look],
    chosen: Theme,
    *,
    title: str,
    subtitle: Sequence[str],
    notes: Sequence[str],
    x_title: str,
    y_title: str,
    ticks: Mapping[float, str],
    logarithmic: bool = False,
) -> Figure:
    """Lines of ``dots`` in a panel for each row and column, in order of first appearance; y starts at zero.

    looks: of each series, in the order of the legend. ticks: position -> text on the x axes. logarithmic: the x axes.
    """
    across = list(dict.fromkeys(dot.column for dot in dots)) or [""]
    down = list(dict.fromkeys(dot.row for dot in dots)) or [""]
    width = _PANEL_WIDTHS.get(len(across), 1.68)
    figure, axes = sheet(
        chosen,
        title=title,
        subtitle=subtitle,
        notes=notes,
        handles=[
            _handle(name, look, chosen) for name, look in looks.items() if any(dot.series == name for dot in dots)
        ],
        widths=[width] * len(across),
        heights=[min(2.9 if len(down) < 3 else 1.6, 0.62 * width + 0.55)] * len(down),
        left=0.8 + 0.13 * max(row.count("\n") for row in down),
        gap=(0.5, 0.3),
        above=0.2 * bool(across[0]),
    )
    for i, row in enumerate(down):
        for j, column in enumerate(across):
            panel = axes[i][j]
            _panel(panel, [dot for dot in dots if (dot.row, dot.column) == (row, column)], looks, chosen)
            _ticks(panel, ticks, logarithmic=logarithmic)
            if i == 0 and column:
                panel.set_title(plain(column), loc="left", fontsize=8, color=chosen.ink)
            if i == len(down) - 1:
                panel.set_xlabel(x_title)
            else:
                panel.tick_params(labelbottom=False)
        lines = [plain(line) for line in row.split("\n") if line]
        axes[i][0].set_ylabel("\n".join([*lines, y_title]), fontsize=8)
    if not dots:
        axes[0][0].text(0.5, 0.5, "nothing to draw", transform=axes[0][0].transAxes, ha="center", color=chosen.muted)
    return figure


def _panel(panel: Axes, dots: Sequence[Dot], looks: Mapping[str, Look], chosen: Theme) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for name, look in looks.items():
        line = sorted((dot for dot in dots if dot.series == name), key=lambda dot: dot.x)
        if not line:
            continue
        ink, style = colour(look.colour, chosen), _style(look, chosen)
        panel.plot([dot.x for dot in line], [dot.y for dot in line], **style)
        known = [(dot, dot.low, dot.high) for dot in line if dot.low is not None and dot.high is not None]
        if known:
            below = [max(0.0, dot.y - low) for dot, low, _ in known]
            above = [max(0.0, high - dot.y) for dot, _, high in known]
            xs, ys = [dot.x for dot, *_ in known], [dot.y for dot, *_ in known]
            panel.errorbar(xs, ys, yerr=[below, above], fmt="none", ecolor=ink, elinewidth=0.9, capsize=1.8, zorder=4)
    panel.set_ylim(0, _top(dots))
    panel.yaxis.set_major_locator(MaxNLocator(5))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: short(tick)))


def _top(dots: Sequence[Dot]) -> float:
    return far_enough([dot.y for dot in dots], [dot.high for dot in dots])


def far_enough(values: Sequence[float], ends: Sequence[float | None]) -> float:
    """Where an axis from 0 ends: behind each value, and its interval unless that would flatten them: then it is cut."""
    highest = max(values, default=0.0)
    widest = max((end for end in ends if end is not None), default=0.0)
    return 1.08 * min(max(highest, widest), _ROOM * highest) or 1.0


def beyond(dots: Sequence[Dot]) -> list[str]:
    """A note where intervals leave their panel."""
    panels: dict[tuple[str, str], list[Dot]] = {}
    for dot in dots:
        panels.setdefault((dot.row, dot.column), []).append(dot)
    return cut((dot.high, _top(same)) for same in panels.values() for dot in same)


def cut(intervals: Iterable[tuple[float | None, float]]) -> list[str]:
    """A note where intervals (their high end, where their axis ends) leave their panel."""
    count = sum(1 for end, axis in intervals if end is not None and end > axis)
    return [f"Intervals that leave their panel are cut: {count}. The table has them."] if count else []


def short(value: float) -> str:
    """A tick in few letters: 120,000 is "120k"."""
    for scale, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= scale:
            unit = 1e3 if prefix == "k" else scale
            return f"{value / unit:,.4g}{prefix}"
    return f"{value:,.4g}"


def _ticks(panel: Axes, ticks: Mapping[float, str], *, logarithmic: bool) -> None:
    from matplotlib.ticker import NullLocator

    if not ticks:
        return
    if logarithmic:
        panel.set_xscale("log", base=2)
    step = -(-len(ticks) // _MOST_TICKS)
    shown = dict(sorted(ticks.items())[::step])
    panel.set_xticks(list(shown), [plain(text) for text in shown.values()])
    panel.xaxis.set_minor_locator(NullLocator())
    low, high = min(ticks), max(ticks)
    if logarithmic:
        panel.set_xlim(low / 1.25, high * 1.25)
    else:
        room = 0.08 * (high - low) or 1
        panel.set_xlim(low - room, high + room)


def _style(look: Look, chosen: Theme) -> dict[str, Any]:
    ink, shape = colour(look.colour, chosen), marker(look.marker)
    return {
        "color": ink,
        "marker": shape,
        "ms": marker_size(shape, 4.6),
        "mfc": ink if look.solid else chosen.paper,
        "mec": ink,
        "mew": 1.0,
        "lw": 1.3 if look.solid else 1.0,
        "ls": "-" if look.solid else (0, (4, 2)),
        "zorder": 3,
    }


def _handle(name: str, look: Look, chosen: Theme) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], label=plain(name), **_style(look, chosen))
