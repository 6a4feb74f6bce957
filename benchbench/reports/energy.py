"""What does an image cost? Top-1 accuracy against joules an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchbench.reports import rows
from benchbench.reports.chart import Chart
from benchbench.reports.figure1 import MODES
from benchbench.reports.scatter import beyond, scatter
from benchbench.reports.sheet import words
from benchbench.reports.spots import ENERGY, by_recipe, measured_points, our_spots, with_paper
from benchbench.reports.theme import style
from benchbench.reports.theme import theme as theme_named

if TYPE_CHECKING:
    import pandas

_ABOUT = (
    "Energy from the GPU's total-energy counter over the timed calls. Shaded: what some measured network beats in"
    " accuracy and energy; its edge is the Pareto front. The paper prints no energy."
)


def energy(
    results: pandas.DataFrame,
    *,
    x: str = "train",
    precision: str | None = None,
    theme: str = "light",
    conditions: str = "",
) -> Chart:
    """Accuracy (%) against joules an image, less being better, with intervals and the Pareto front.

    x: the mode, "train" or "infer". Of both memory formats the faster is drawn. Where nothing has an energy (a CPU, a
    GPU without a counter) the chart says so. Raises ValueError for another mode or theme, and for a precision that was
    not measured.
    """
    if x not in MODES:
        raise ValueError(f"no mode {x!r}: choose train or infer")
    chosen = theme_named(theme)
    frame = rows.own(rows.networks(rows.tidy(results)))
    frame, named, notes = rows.one_precision(frame[frame["mode"] == x], precision)
    data, about = measured_points(frame, overlay=False)
    data = by_recipe(data)
    ours = our_spots(data, by_family=True, columns=ENERGY) if len(data) else []
    without = sorted(set(data.loc[data["joules_per_image"].isna(), "label"])) if len(data) else []
    about += [f"Without an energy, in the table only: {', '.join(without)}."] if without and ours else []
    about += [_ABOUT] if ours else ["Nothing to draw: no energy was measured (it needs the GPU's energy counter)."]
    notes = [*about, *beyond(ours), *notes, *rows.not_measured(frame)]
    with style(chosen):
        figure = scatter(
            ours,
            [],
            chosen,
            title=f"Accuracy against the energy of an image in {MODES[x].split()[0]}",
            subtitle=[words(conditions, *rows.shared(data, conditions))],
            notes=notes,
            x_title="energy (J/image)" + (f", {named}" if named else ""),
            front=True,
            less_is_better=True,
            crowded=len(ours) > 12,
        )
    return Chart("energy" if x == "train" else f"energy-{x}", figure, with_paper(data, []), notes, theme)
