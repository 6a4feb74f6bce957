"""How marks, the lines between them and their names are drawn on an accuracy chart."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchbench.reports import names
from benchbench.reports.labels import Label, label_points
from benchbench.reports.sheet import sheet
from benchbench.reports.spots import Spot
from benchbench.reports.theme import Theme, colour, marker, marker_size, plain, text_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# From this ratio between ours and the paper's throughputs on they stand in panels of their own.
_APART = 2.5
# Beyond this ratio between the largest and the smallest value the axis is logarithmic.
_LOGARITHMIC = 12
# More names than this need a larger page.
_MANY = 12
Segment = tuple[float, float, float, float]


def scatter(
    ours: Sequence[Spot],
    paper: Sequence[Spot],
    chosen: Theme,
    *,
    title: str,
    subtitle: Sequence[str],
    notes: Sequence[str],
    x_title: str,
    paper_x_title: str = "",
    front: bool = False,
    less_is_better: bool = False,
    crowded: bool = False,
) -> Figure:
    """Accuracy (%) upwards against x. The paper's marks are grey, and in a panel of their own where the scales differ.

    front: also draw the Pareto front of our marks, those that no other beats in both directions; more x is better
    unless less_is_better. crowded: a larger page with smaller names, where the paper's marks stand alone.
    """
    width, height = (8.4, 6.4) if crowded else (7.0, 4.6) if len(ours) > _MANY else (5.6, 3.7)
    apart = bool(ours and paper) and _are_apart(ours, paper)
    widths = (0.545 * width, 0.455 * width) if apart else (width,)
    figure, axes = sheet(
        chosen,
        title=title,
        subtitle=subtitle,
        notes=notes,
        widths=widths,
        heights=(height,),
        sharey=True,
        above=0.18 * apart,
    )
    panels = axes[0]
    index = names.places([spot.family for spot in (*ours, *paper)])
    _limits_y(panels[0], [spot.y for spot in (*ours, *paper)])
    panels[0].set_ylabel("ImageNet-1K top-1 (%)")
    panels[0].set_xlabel(x_title)
    edge = pareto(ours, less_is_better=less_is_better) if front else []
    if apart:
        panels[0].set_title("this machine", loc="left", fontsize=8, color=chosen.ink)
        panels[1].set_title("the paper: A100, TF32, batch 128", loc="left", fontsize=8, color=chosen.muted)
        panels[1].set_xlabel(paper_x_title)
        panels[1].tick_params(labelleft=False)
        _panel(panels[0], ours, [], chosen, index, front=edge, less_is_better=less_is_better, crowded=crowded)
        _panel(panels[1], [], paper, chosen, index, front=[], less_is_better=False, crowded=crowded)
    else:
        _panel(panels[0], ours, paper, chosen, index, front=edge, less_is_better=less_is_better, crowded=crowded)
    if not ours and not paper:
        panels[0].text(0.5, 0.5, "nothing to draw", transform=panels[0].transAxes, ha="center", color=chosen.muted)
    return figure


def pareto(spots: Sequence[Spot], *, less_is_better: bool = False) -> list[Spot]:
    """The marks that no other beats in accuracy and x together, the most accurate first; more x is better, or less."""
    sign = -1 if less_is_better else 1
    best: list[Spot] = []
    for spot in sorted(spots, key=lambda s: (-s.y, -sign * s.x, s.label)):
        if not best or sign * spot.x > sign * best[-1].x:
            best.append(spot)
    return best


def _panel(
    panel: Axes,
    ours: Sequence[Spot],
    paper: Sequence[Spot],
    chosen: Theme,
    index: dict[str, int],
    *,
    front: Sequence[Spot],
    less_is_better: bool,
    crowded: bool,
) -> None:
    _limits_x(panel, [*ours, *paper])
    hairs = _front(panel, front, chosen, less_is_better=less_is_better) if front else []
    segments = _lines(panel, ours, chosen, index) + _intervals(panel, ours)
    if not crowded:
        segments += _lines(panel, paper, chosen, index)
        hairs += _pairs(panel, ours, paper, chosen)
    for spot in (*paper, *ours):
        _mark(panel, spot, chosen, index[spot.family], size=5.2 if crowded else 6.6)
    paired = {spot.identity for spot in ours}
    look: dict[str, Any] = {"weight": "normal", "size": 6.4} if crowded else {"weight": "bold"}
    labels = [Label(s.x, s.y, plain(s.label), text_colour(index[s.family], chosen), **look) for s in ours]
    if not (crowded and ours):
        labels += [Label(s.x, s.y, plain(s.label), chosen.muted) for s in paper if s.identity not in paired]
    points = [(spot.x, spot.y) for spot in (*ours, *paper)]
    radius = 4.2 if crowded else 5.6
    label_points(panel, labels, chosen, points=points, segments=segments, hairs=hairs, radius=radius)


def _mark(panel: Axes, spot: Spot, chosen: Theme, number: int, *, size: float) -> None:
    shape, ink = marker(number), colour(number, chosen)
    if spot.paper:
        look: dict[str, Any] = {
            "ms": marker_size(shape, 0.7 * size),
            "mfc": chosen.muted,
            "mec": chosen.paper,
            "mew": 0.5,
        }
        panel.plot(spot.x, spot.y, shape, zorder=3, **look)
        return
    if spot.low is not None and spot.high is not None:
        ends = [[max(0.0, spot.x - spot.low)], [max(0.0, spot.high - spot.x)]]
        panel.errorbar(spot.x, spot.y, xerr=ends, fmt="none", ecolor=ink, elinewidth=1, capsize=2.2, zorder=4)
    face = chosen.paper if spot.hollow else ink
    panel.plot(spot.x, spot.y, shape, ms=marker_size(shape, size), mfc=face, mec=ink, mew=1.2, zorder=5)


def _intervals(panel: Axes, spots: Sequence[Spot]) -> list[Segment]:
    """The drawn part of every interval."""
    left, right = panel.get_xlim()
    known = [(s.y, max(s.low, left), min(s.high, right)) for s in spots if s.low is not None and s.high is not None]
    return [(low, y, high, y) for y, low, high in known]


def beyond(spots: Sequence[Spot]) -> list[str]:
    """A note where intervals leave the panel."""
    left, right = _span(spots)
    count = sum(1 for s in spots if s.low is not None and s.high is not None and (s.low < left or s.high > right))
    return [f"Intervals that leave the panel are cut: {count}. The table has them."] if count else []


def _span(spots: Sequence[Spot]) -> tuple[float, float]:
    """The values that a panel must show: every point, and its interval unless that would squeeze the points."""
    xs = [spot.x for spot in spots if spot.x > 0]
    low, high = (min(xs), max(xs)) if xs else (1.0, 2.0)
    room = max(high - low, 0.35 * high)
    ends = [end for spot in spots for end in (spot.low, spot.high) if end is not None and end > 0]
    return max(min([low, *ends]), low - room, 0.3 * low), min(max([high, *ends]), high + room)


def _lines(panel: Axes, spots: Sequence[Spot], chosen: Theme, index: dict[str, int]) -> list[Segment]:
    segments: list[Segment] = []
    for name in sorted({spot.line for spot in spots if spot.line}):
        members = [spot for spot in spots if spot.line == name]
        # From the most accurate on: by x a noisy run would join the sizes in another order than their own.
        line = [(spot.x, spot.y) for spot in sorted(members, key=lambda spot: (-spot.y, spot.x))]
        grey = any(spot.paper for spot in spots)
        look: dict[str, Any] = {"color": colour(index[members[0].family], chosen), "lw": 1.3}
        # The name of a line is its family's, and behind a comma what is not stock.
        if "," in name:
            look |= {"ls": (0, (5, 2)), "lw": 1.0}
        if grey:
            look = {"color": chosen.muted, "ls": (0, (3, 2)), "lw": 0.9, "alpha": 0.7}
        panel.plot([x for x, _ in line], [y for _, y in line], zorder=2, **look)
        segments += [(*a, *b) for a, b in itertools.pairwise(line)]
    return segments


def _pairs(panel: Axes, ours: Sequence[Spot], paper: Sequence[Spot], chosen: Theme) -> list[Segment]:
    """A hair line from the paper's mark to ours of the same network: its length is the difference of the machines."""
    segments = []
    partner = {(spot.identity, spot.y): spot for spot in paper}
    for spot in ours:
        other = partner.get((spot.identity, spot.y))
        if other is not None:
            panel.plot([other.x, spot.x], [other.y, spot.y], color=chosen.muted, lw=0.6, ls=(0, (1, 3)), zorder=1)
            segments.append((other.x, other.y, spot.x, spot.y))
    return segments


def _front(panel: Axes, best: Sequence[Spot], chosen: Theme, *, less_is_better: bool) -> list[Segment]:
    """The front as a staircase over everything that it dominates; its segments."""
    far = panel.get_xlim()[1 if less_is_better else 0]
    corners = [(far, best[0].y)]
    for spot in best:
        corners += [(spot.x, corners[-1][1]), (spot.x, spot.y)]
    corners.append((best[-1].x, panel.get_ylim()[0]))
    xs, ys = zip(*corners, strict=True)
    panel.plot(xs, ys, color=chosen.muted, lw=1.0, alpha=0.6, zorder=1)
    panel.fill([*xs, far], [*ys, panel.get_ylim()[0]], color=chosen.faint, alpha=0.4, lw=0, zorder=0)
    return [(*a, *b) for a, b in itertools.pairwise(corners)]


def _are_apart(ours: Sequence[Spot], paper: Sequence[Spot]) -> bool:
    mine, theirs = [spot.x for spot in ours], [spot.x for spot in paper]
    return max(mine) * _APART < min(theirs) or max(theirs) * _APART < min(mine)


def _limits_y(panel: Axes, values: Sequence[float]) -> None:
    low, high = (min(values), max(values)) if values else (78.0, 83.0)
    room = max(0.12 * (high - low), 0.35)
    panel.set_ylim(low - room, high + room)


def _limits_x(panel: Axes, spots: Sequence[Spot]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    low, high = _span(spots)
    if high > _LOGARITHMIC * low:
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.set_xlim(low / 1.3, high * 1.5)
    else:
        room = max(high - low, 0.1 * high)
        panel.set_xlim(max(0.0, low - 0.2 * room), high + 0.24 * room)
    panel.xaxis.set_minor_formatter("")
    panel.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.6g}"))
