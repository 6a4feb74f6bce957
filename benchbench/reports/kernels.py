"""How does throughput fall with the kernel size? A line for each operation, ratio and backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchbench import published
from benchbench.reports import names, rows
from benchbench.reports.chart import Chart
from benchbench.reports.curves import dot, looks, mode_of, selected, tabled, with_variant
from benchbench.reports.grid import beyond, grid
from benchbench.reports.sheet import words
from benchbench.reports.theme import style
from benchbench.reports.theme import theme as theme_named

if TYPE_CHECKING:
    import pandas


def kernels(
    results: pandas.DataFrame,
    *,
    of: str = "",
    precision: str | None = None,
    theme: str = "light",
    conditions: str = "",
) -> Chart:
    """Images a second against kernel size, with intervals.

    of: "operators" (a column of panels for each shape, a row for each mode) or "networks" (a panel for each mode);
    where it is empty the operators if there are any. In the better memory format, which ``data`` names. Raises
    ValueError for another subject or theme, and for a precision that was not measured.
    """
    chosen = theme_named(theme)
    of, data, named, notes = selected(results, of=of, precision=precision)
    records = data.to_dict("records")
    named_rows = data.assign(series=[with_variant(_name(row), row) for row in records])
    data = rows.told_apart(named_rows, "series", ("kernel_size", "shape", "mode"))
    dots = [_dot(row) for row in data.to_dict("records")]
    notes += beyond(dots)
    with style(chosen):
        figure = grid(
            dots,
            looks(data, _subject),
            chosen,
            title="Throughput against kernel size",
            subtitle=[words(conditions, *rows.shared(data, conditions, named))],
            notes=notes,
            x_title="kernel size",
            y_title="img/s",
            ticks={one.x: f"{one.x:g}" for one in dots},
        )
    return Chart("kernels" if of == "operators" else "kernels-networks", figure, tabled(data), notes, theme)


def _dot(row: dict[Any, Any]) -> Any:
    network = rows.value(row["model"]) is not None
    across, down = (mode_of(row), "") if network else (str(row["shape"]), mode_of(row))
    return dot(row, x=float(row["kernel_size"]), panel_row=down, panel_column=across)


def _subject(row: dict[Any, Any]) -> tuple[str, str]:
    return str(rows.value(row["model"]) or row["case"]), str(rows.value(row["ratio"]) or "1")


def _name(row: dict[Any, Any]) -> str:
    model, share = rows.value(row["model"]), rows.value(row["ratio"])
    if model is None:
        return names.operation(str(row["case"])) + (f" {share}" if share else "")
    return names.network(str(model), published.combination(str(model))[1], share)
