"""How did a value move over commits? The ratio to the pinned baseline, its interval, and where it changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchbench import units
from benchbench.reports import rows
from benchbench.reports.chart import Chart
from benchbench.reports.sheet import sheet, words
from benchbench.reports.theme import Theme, colour, plain, style
from benchbench.reports.theme import theme as theme_named

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("commit", "ratio", "low", "high", "change", "series")
_MOST_NAMES = 14


def history(
    values: pandas.DataFrame,
    *,
    margin: float = 0.01,
    metric: str = "time",
    theme: str = "light",
    conditions: str = "",
) -> Chart:
    """The ratio to the baseline, commit by commit; above 1 is slower.

    values: one row a commit, oldest first: commit, ratio, low, high (the interval, may be missing), change (true where
    the history's rule saw a change point) and, where there are several, series (a panel each). margin: the half-width
    of the band inside which nothing is reported. metric: what the ratio is of, on the axis. Raises ValueError where a
    needed column is missing.
    """
    chosen = theme_named(theme)
    data = _tidy(values)
    series = list(dict.fromkeys(data["series"]))
    notes = _notes(data, margin)
    with style(chosen):
        figure = _draw(data, series, chosen, margin=margin, metric=metric, subtitle=words(conditions), notes=notes)
    return Chart("history", figure, data, notes, theme)


def _tidy(values: pandas.DataFrame) -> pandas.DataFrame:
    import pandas

    missing = [name for name in ("commit", "ratio") if name not in values.columns]
    if missing and len(values):
        raise ValueError(f"a history needs the columns commit and ratio: {', '.join(missing)} is missing")
    data = values.reset_index(drop=True).reindex(columns=list(dict.fromkeys((*COLUMNS, *values.columns))))
    for name in ("ratio", "low", "high"):
        data[name] = pandas.to_numeric(data[name], errors="coerce")
    data["change"] = [rows.value(cell) in (True, 1) for cell in data["change"]]
    data["series"] = [str(rows.value(cell) or "") for cell in data["series"]]
    return data


def _notes(data: pandas.DataFrame, margin: float) -> list[str]:
    if data["ratio"].notna().sum() == 0:
        return ["Nothing to draw: the history has no value."]
    notes = [f"Band: the margin of {units.share_text(margin)} around the pinned baseline."]
    for row in data[data["change"]].to_dict("records"):
        where = f"{row['series']}: " if row["series"] else ""
        notes.append(
            f"{where}Changed at {row['commit']}, now {units.ratio_text(row['ratio'], row['low'], row['high'])}."
        )
    gaps = int(data["ratio"].isna().sum())
    return notes + ([f"{gaps} commits have no value: gaps in the line."] if gaps else [])


def _draw(
    data: pandas.DataFrame,
    series: Sequence[str],
    chosen: Theme,
    *,
    margin: float,
    metric: str,
    subtitle: str,
    notes: Sequence[str],
) -> Figure:
    several = len(series) > 1
    figure, axes = sheet(
        chosen,
        title="History against the pinned baseline",
        subtitle=[subtitle] if subtitle else [],
        notes=notes,
        heights=[1.7 if several else 2.8] * max(1, len(series)),
        widths=(6.2,),
        gap=(0.3, 0.5),
        below=0.72,
        above=0.2 * several,
        left=0.72,
    )
    for number, name in enumerate(series):
        panel = axes[number][0]
        _panel(panel, data[data["series"] == name], chosen, margin=margin)
        panel.set_ylabel(f"{plain(metric)} (ratio)")
        if several:
            panel.set_title(plain(name), loc="left", fontsize=8, color=chosen.ink)
        if number < len(series) - 1:
            panel.set_xticks([])
    if data["ratio"].notna().sum() == 0:
        axes[0][0].text(0.5, 0.5, "nothing to draw", transform=axes[0][0].transAxes, ha="center", color=chosen.muted)
    return figure


def _panel(panel: Axes, data: pandas.DataFrame, chosen: Theme, *, margin: float) -> None:
    places = list(range(len(data)))
    ratios = [float(ratio) for ratio in data["ratio"]]
    panel.axhspan(1 - margin, 1 + margin, color=chosen.faint, alpha=0.6, lw=0, zorder=0)
    panel.axhline(1, color=chosen.muted, lw=0.8, zorder=1)
    records: list[dict[Any, Any]] = data.to_dict("records")
    for place, row in zip(places, records, strict=True):
        low, high = rows.value(row["low"]), rows.value(row["high"])
        if low is not None and high is not None:
            panel.plot([place, place], [low, high], color=colour(0, chosen), lw=1.0, alpha=0.7, zorder=2)
    panel.plot(places, ratios, "o-", color=colour(0, chosen), ms=3.2, lw=1.0, zorder=3)
    changed = [place for place, row in zip(places, records, strict=True) if row["change"]]
    for place in changed:
        panel.axvline(place - 0.5, color=colour(1, chosen), lw=1.0, ls=(0, (3, 2)), zorder=2)
    panel.plot(changed, [ratios[place] for place in changed], "D", color=colour(1, chosen), ms=5, zorder=4)
    step = -(-len(places) // _MOST_NAMES) if places else 1
    # A changed commit is always named, so its neighbours are not.
    shown = sorted({*(p for p in places[::step] if all(abs(p - c) >= step for c in changed)), *changed})
    panel.set_xticks(
        shown, [plain(str(records[place]["commit"])[:9]) for place in shown], rotation=45, ha="right", fontsize=6
    )
    panel.grid(axis="x", visible=False)
