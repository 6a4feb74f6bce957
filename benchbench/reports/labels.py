"""Where the names of points go so that they cover neither points nor lines nor each other; the same every time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from benchbench.reports.theme import LABEL_SIZE, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_Boxes = numpy.ndarray[Any, numpy.dtype[Any]]
# What it costs to cover one square point of each, to leave the panel by one point, to be nearer to a stranger.
_LABEL, _POINT, _LINE, _OUTSIDE, _AMBIGUOUS = 40.0, 25.0, 5.0, 60.0, 30.0
_PADDING = 1.2


@dataclass(frozen=True, slots=True)
class Label:
    """A text that belongs to a point of a panel, in the panel's data coordinates."""

    x: float
    y: float
    text: str
    colour: str
    weight: str = "normal"
    size: float = LABEL_SIZE


def label_points(
    panel: Axes,
    labels: Sequence[Label],
    chosen: Theme,
    *,
    points: Sequence[tuple[float, float]] = (),
    segments: Sequence[tuple[float, float, float, float]] = (),
    hairs: Sequence[tuple[float, float, float, float]] = (),
    radius: float = 5.6,
) -> None:
    """Write each label beside its point, clear of all ``points`` and, where there is room, of the lines.

    points, segments and hairs (x1, y1, x2, y2): what is drawn, in data coordinates; a name may cross a hair line if it
    must. radius: of a marker, in typographic points.
    The panel's limits and place must be final. A label that had to go far gets a thin line to its point.
    """
    if not labels:
        return
    drawn = _in_points(panel, numpy.array([*[(label.x, label.y) for label in labels], *points], dtype=float))
    lines, thin = (
        _in_points(panel, numpy.array(s, dtype=float).reshape(-1, 2)).reshape(-1, 4) for s in (segments, hairs)
    )
    edge = numpy.array([[4, 4], [-4, -4]])
    corners = panel.get_window_extent().get_points() * 72 / panel.figure.dpi + edge
    sizes = [_size(panel, label) for label in labels]
    placed = place(drawn[: len(labels)], sizes, drawn, lines, (*corners[0], *corners[1]), hairs=thin, radius=radius)
    for label, anchor, box, size in zip(labels, drawn, placed, sizes, strict=False):
        centre = box + numpy.array(size) / 2
        far = _gap(anchor, box, size) > radius + 7
        panel.annotate(
            label.text,
            (label.x, label.y),
            xytext=tuple(centre - anchor),
            textcoords="offset points",
            ha="center",
            va="center",
            color=label.colour,
            fontsize=label.size,
            fontweight=label.weight,
            arrowprops={"arrowstyle": "-", "color": chosen.muted, "lw": 0.5, "shrinkA": 0.5, "shrinkB": radius}
            if far
            else None,
            zorder=6,
        )


def place(
    anchors: _Boxes,
    sizes: Sequence[tuple[float, float]],
    points: _Boxes,
    segments: _Boxes,
    bounds: tuple[float, float, float, float],
    *,
    hairs: _Boxes | None = None,
    radius: float = 5.6,
) -> _Boxes:
    """Lower left corners of the labels, (n, 2): each the cheapest of some hundred places around its anchor.

    Everything is in one unit. Labels are placed the most crowded first, then moved one by one until none gains by it.
    """
    count = len(sizes)
    obstacles = numpy.concatenate([points - radius, points + radius], axis=1)
    options = [_candidates(anchor, size, radius) for anchor, size in zip(anchors, sizes, strict=True)]
    fixed = [
        cost
        + _LINE * _crossed(boxes, segments)
        + _LINE / 10 * _crossed(boxes, numpy.zeros((0, 4)) if hairs is None else hairs)
        + _AMBIGUOUS * _nearer_to_others(boxes, anchor, points)
        + _POINT * _overlap(boxes, obstacles).sum(axis=1)
        + _OUTSIDE * _outside(boxes, bounds)
        for anchor, (boxes, cost) in zip(anchors, options, strict=True)
    ]
    chosen = [int(numpy.argmin(cost)) for cost in fixed]
    order = sorted(range(count), key=lambda i: (-float(fixed[i].min()), -_neighbours(anchors, i), i))
    for _ in range(30):
        moved = False
        for i in order:
            others = numpy.array([options[j][0][chosen[j]] for j in range(count) if j != i]).reshape(-1, 4)
            cost = fixed[i] + _LABEL * _overlap(options[i][0], others).sum(axis=1)
            best = int(numpy.argmin(cost))
            if cost[best] < cost[chosen[i]] - 1e-9:
                chosen[i], moved = best, True
        if not moved:
            break
    return numpy.array([options[i][0][chosen[i]][:2] for i in range(count)]).reshape(-1, 2)


def _candidates(anchor: _Boxes, size: tuple[float, float], radius: float) -> tuple[_Boxes, _Boxes]:
    """Boxes around an anchor and what each costs by itself: near before far, beside before above before below."""
    width, height = size
    boxes, costs = [], []
    for step, reach in enumerate((2.0, 5.0, 9.0, 14.0, 20.0, 28.0, 38.0)):
        for turn in range(24):
            angle = 2 * math.pi * turn / 24
            across, up = math.cos(angle), math.sin(angle)
            # The box touches the circle of this reach around the marker from outside, in this direction.
            x = anchor[0] + across * (radius + reach) + (across - 1) * width / 2
            y = anchor[1] + up * (radius + reach) + (up - 1) * height / 2
            boxes.append((x, y, x + width, y + height))
            costs.append(14.0 * step + 3.0 * (1 - across) + (2.0 if up < 0 else 1.0) * abs(up))
    return numpy.array(boxes), numpy.array(costs)


def _overlap(boxes: _Boxes, others: _Boxes) -> _Boxes:
    """Shared area of each box with each other, (n, m); a little air around a box counts as its own."""
    if len(others) == 0:
        return numpy.zeros((len(boxes), 0))
    low = numpy.maximum(boxes[:, None, :2] - _PADDING, others[None, :, :2])
    high = numpy.minimum(boxes[:, None, 2:] + _PADDING, others[None, :, 2:])
    sides: _Boxes = numpy.clip(high - low, 0, None)
    return numpy.asarray(sides[..., 0] * sides[..., 1])


def _nearer_to_others(boxes: _Boxes, anchor: _Boxes, points: _Boxes) -> _Boxes:
    """1 for each box that stands nearer to another point than to its own, else 0."""
    others = points[numpy.abs(points - anchor).max(axis=1) > 1e-6]
    if len(others) == 0:
        return numpy.zeros(len(boxes))
    own, nearest = _gaps(boxes, anchor[None]).min(axis=1), _gaps(boxes, others).min(axis=1)
    return numpy.asarray((nearest < own + 1).astype(float))


def _gaps(boxes: _Boxes, points: _Boxes) -> _Boxes:
    """Distance from each box to each point, (n, m)."""
    nearest = numpy.clip(points[None], boxes[:, None, :2], boxes[:, None, 2:])
    return numpy.asarray(numpy.sqrt(((points[None] - nearest) ** 2).sum(axis=2)))


def _outside(boxes: _Boxes, bounds: tuple[float, float, float, float]) -> _Boxes:
    low = numpy.clip(numpy.array(bounds[:2]) - boxes[:, :2], 0, None)
    high = numpy.clip(boxes[:, 2:] - numpy.array(bounds[2:]), 0, None)
    return numpy.asarray((low + high).sum(axis=1))


def _crossed(boxes: _Boxes, segments: _Boxes) -> _Boxes:
    """Samples of the segments, one every point of length, that fall into each box, weighed as small areas."""
    if len(segments) == 0:
        return numpy.zeros(len(boxes))
    samples = numpy.concatenate([_samples(segment) for segment in segments])
    inside = (samples[None] >= boxes[:, None, :2] - 1) & (samples[None] <= boxes[:, None, 2:] + 1)
    return numpy.asarray(inside.all(axis=2).sum(axis=1).astype(float))


def _samples(segment: _Boxes) -> _Boxes:
    start, end = segment[:2], segment[2:]
    steps = max(2, min(2000, int(numpy.hypot(*(end - start)))))
    return numpy.asarray(start + numpy.linspace(0, 1, steps)[:, None] * (end - start))


def _neighbours(anchors: _Boxes, index: int) -> int:
    return int((numpy.hypot(*(anchors - anchors[index]).T) < 40).sum())


def _gap(anchor: _Boxes, box: _Boxes, size: tuple[float, float]) -> float:
    nearest = numpy.clip(anchor, box, box + numpy.array(size))
    return float(numpy.hypot(*(anchor - nearest)))


def _in_points(panel: Axes, data: _Boxes) -> _Boxes:
    if len(data) == 0:
        return numpy.zeros((0, 2))
    return numpy.asarray(panel.transData.transform(data)) * 72 / panel.figure.dpi


def _size(panel: Axes, label: Label) -> tuple[float, float]:
    from matplotlib.text import Text

    text = Text(0, 0, label.text, fontsize=label.size, fontweight=label.weight, figure=panel.figure)
    canvas: Any = panel.figure.canvas
    box = text.get_window_extent(canvas.get_renderer())
    return box.width * 72 / panel.figure.dpi, box.height * 72 / panel.figure.dpi
