"""Figure 1 of the paper from a run: top-1 accuracy against throughput, the paper's own points beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchbench.reports import rows
from benchbench.reports.chart import Chart
from benchbench.reports.scatter import beyond, scatter
from benchbench.reports.sentence import headline
from benchbench.reports.sheet import words
from benchbench.reports.spots import (
    PAPER_NOTE,
    PAPER_PRECISION,
    by_recipe,
    measured_points,
    our_spots,
    paper_spots,
    with_paper,
)
from benchbench.reports.theme import style
from benchbench.reports.theme import theme as theme_named

if TYPE_CHECKING:
    import pandas

FRONT_NOTE = "Shaded: what some measured network beats in accuracy and speed; its edge is the Pareto front."
MODES = {"train": "training throughput", "infer": "inference throughput"}


def figure1(
    results: pandas.DataFrame,
    *,
    x: str = "train",
    precision: str | None = None,
    overlay: bool = True,
    theme: str = "light",
    conditions: str = "",
    everything: bool = False,
) -> Chart:
    """Top-1 accuracy (%) against images a second of the networks of a run, with their intervals.

    results: the frame of ``stats.results``; conditions: machine and preset in words, printed on the chart.
    x: "train" or "infer". Where both memory formats were measured the better is drawn and named. A combination without
    a published accuracy is in ``data`` with ``drawn`` false and named in ``notes``. Raises ValueError for another x or
    theme, and for a precision that was not measured. everything: all of Table 4 and its rivals, sizes joined by family,
    both recipes of ResNet-50, and the Pareto front of what was measured.
    """
    if x not in MODES:
        raise ValueError(f"no axis {x!r}: choose train or infer")
    chosen = theme_named(theme)
    frame = rows.networks(rows.tidy(results))
    frame, named, notes = rows.one_precision(frame[frame["mode"] == x], precision)
    data, about = measured_points(frame, overlay=overlay)
    data = by_recipe(data) if everything else data
    ours = our_spots(data, by_family=everything) if len(data) else []
    paper = paper_spots(x, {spot.identity for spot in ours}, everything=everything) if overlay else []
    about += beyond(ours) + ([FRONT_NOTE] if everything and ours else [])
    notes = [*about, *([PAPER_NOTE] if overlay else []), *notes, *rows.not_measured(frame)]
    with style(chosen):
        figure = scatter(
            ours,
            paper,
            chosen,
            title=f"Accuracy against {MODES[x]}",
            subtitle=[line for line in (headline(frame), words(conditions, *rows.shared(data, conditions))) if line],
            notes=notes,
            x_title=x_title(x, named),
            paper_x_title=x_title(x, PAPER_PRECISION),
            front=everything,
            crowded=everything,
        )
    name = ("figure1-all" if everything else "figure1") + ("" if x == "train" else f"-{x}")
    return Chart(name, figure, with_paper(data, paper), notes, theme)


def x_title(x: str, precision: str) -> str:
    """The axis with its unit and the one precision: "training throughput (img/s), tf32"."""
    return f"{MODES[x]} (img/s)" + (f", {precision}" if precision else "")
