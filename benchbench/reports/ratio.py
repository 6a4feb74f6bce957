"""How does throughput grow as fewer channels are convolved? A line for each kernel size and backend."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from benchbench.reports import names, rows
from benchbench.reports.chart import Chart
from benchbench.reports.curves import dot, looks, mode_of, selected, tabled, with_variant
from benchbench.reports.grid import beyond, grid
from benchbench.reports.sheet import words
from benchbench.reports.theme import style
from benchbench.reports.theme import theme as theme_named

if TYPE_CHECKING:
    import pandas

# An operation on all channels is the end, ratio 1, of the line of its partial form.
_WHOLE_OF = {"depthwise_conv": "partial_depthwise_conv"}


def ratio(
    results: pandas.DataFrame,
    *,
    of: str = "",
    precision: str | None = None,
    theme: str = "light",
    conditions: str = "",
) -> Chart:
    """Images a second against the share of the channels that is convolved (of an Inception: that of each branch).

    of: "operators" (a column of panels for each shape, a row for each operation and mode) or "networks"; where it is
    empty the operators if there are any. A convolution of all channels stands at ratio 1. Raises ValueError for another
    subject or theme, and for a precision that was not measured.
    """
    chosen = theme_named(theme)
    of, data, named, notes = selected(results, of=of, precision=precision)
    records = data.to_dict("records")
    named_rows = data.assign(
        series=[with_variant(f"kernel size {rows.whole(row['kernel_size'])}", row) for row in records]
    )
    data = rows.told_apart(named_rows, "series", ("ratio", "case", "shape", "mode", "model"))
    dots = [_dot(row) for row in data.to_dict("records")]
    notes += beyond(dots)
    with style(chosen):
        figure = grid(
            sorted(dots, key=lambda one: one.row.split("\n")[0]),
            looks(data, lambda row: (rows.whole(row["kernel_size"]) or 0,)),
            chosen,
            title="Throughput against the share of the channels that is convolved",
            subtitle=[words(conditions, *rows.shared(data, conditions, named))],
            notes=notes,
            x_title="ratio",
            y_title="img/s",
            ticks={one.x: str(Fraction(one.x).limit_denominator(4096)) for one in dots},
            logarithmic=True,
        )
    return Chart("ratio" if of == "operators" else "ratio-networks", figure, tabled(data), notes, theme)


def _dot(row: dict[Any, Any]) -> Any:
    share = float(Fraction(rows.value(row["ratio"]) or "1"))
    model = rows.value(row["model"])
    if model is not None:
        return dot(row, x=share, panel_row=names.network(str(model)), panel_column=mode_of(row))
    operation = names.operation(_WHOLE_OF.get(str(row["case"]), str(row["case"])))
    return dot(row, x=share, panel_row=f"{operation}\n{mode_of(row)}", panel_column=str(row["shape"]))
