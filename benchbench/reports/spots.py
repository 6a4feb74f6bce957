"""The marks of an accuracy chart: the networks of a run that have a published accuracy, and the paper's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchbench import published
from benchbench.reports import names, rows

if TYPE_CHECKING:
    import pandas

PAPER_RESOLUTION, PAPER_BATCH, PAPER_PRECISION = 224, 128, "tf32"
PAPER_NOTE = (
    "Grey: the paper's figures (A100, TF32, batch 128, the better layout); one run without a spread, hence no interval."
)
Identity = tuple[str, int | None, str | None]
SPEED = ("throughput_img_per_s", "throughput_low_img_per_s", "throughput_high_img_per_s")
ENERGY = ("joules_per_image", "joules_low_per_image", "joules_high_per_image")


@dataclass(frozen=True, slots=True)
class Spot:
    """One mark: where it stands, how sure that is, what it is called, which line it is part of, how it looks."""

    label: str
    family: str
    identity: Identity
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    line: str = ""
    hollow: bool = False
    paper: bool = False


def measured_points(frame: pandas.DataFrame, *, overlay: bool) -> tuple[pandas.DataFrame, list[str]]:
    """The data of the chart, one row a network in its better layout, and the notes about it.

    frame: networks of one mode and one precision. Adds label, family, top1_pct (as published for exactly this
    combination), accuracy_pct (where it is drawn), drawn, hollow and differs (what was not as in the paper). Where
    nothing was measured at a published resolution all points stand, hollow, at the accuracies published for 224 px.
    """
    good = rows.better_layout(rows.measured(frame))
    if good.empty:
        return good.assign(drawn=[]).astype({"drawn": bool}), ["Nothing to draw: no network was measured in this mode."]
    records = good.to_dict("records")
    combinations = [combination(row) for row in records]
    sizes = [rows.whole(cell) or PAPER_RESOLUTION for cell in good["img_size"]]
    exact = [published.accuracy(*c, size) for c, size in zip(combinations, sizes, strict=True)]
    reduced = not any(score is not None for score in exact)
    nominal = [published.accuracy(*c, PAPER_RESOLUTION) for c in combinations] if reduced else exact
    several = len({c for c in combinations if c[0].startswith("convnext_tiny")}) > 1
    ends = ["" if reduced or size == PAPER_RESOLUTION else f" {size} px" for size in sizes]
    called = [
        names.network(*c, sizes=several) + end + _suffix(row)
        for c, end, row in zip(combinations, ends, records, strict=True)
    ]
    columns: dict[str, Any] = {
        "family": [names.family(c[0]) for c in combinations],
        "top1_pct": exact,
        "accuracy_pct": nominal,
        "drawn": [score is not None for score in nominal],
        "differs": [_differs(row) for row in records],
    }
    data = rows.told_apart(good.assign(label=called), "label", ("img_size",)).assign(**columns)
    data["reduced"] = reduced
    imported = data["clock"] == "imported"
    data["hollow"] = (data["differs"] != "") & overlay | reduced | imported
    return data, _notes(data, reduced=reduced, overlay=overlay)


def our_spots(data: pandas.DataFrame, *, by_family: bool = False, columns: tuple[str, str, str] = SPEED) -> list[Spot]:
    """The marks of the drawn rows. A line joins ConvNeXt-T's kernel sizes or, with ``by_family``, a family's sizes.

    columns: of x, its low and its high end.
    """
    spots = []
    for row in data[data["drawn"] & data[columns[0]].notna()].to_dict("records"):
        identity = published.combination(*combination(row))
        spots.append(
            Spot(
                label=row["label"],
                family=row["family"],
                identity=identity,
                x=float(row[columns[0]]),
                y=float(row["accuracy_pct"]),
                low=rows.value(row[columns[1]]),
                high=rows.value(row[columns[2]]),
                line=_line(identity, row, by_family=by_family),
                hollow=bool(row["hollow"]),
            )
        )
    return spots


def by_recipe(data: pandas.DataFrame) -> pandas.DataFrame:
    """Each network once for each accuracy that the paper prints for it, under the paper's names; what the paper does
    not have stays as it is. Sizes other than 224 px are named."""
    import pandas

    parts = []
    for position, row in enumerate(data.to_dict("records")):
        one = data.iloc[[position]]
        size = rows.whole(row["img_size"]) or PAPER_RESOLUTION
        known = published.combination(*combination(row)) == published.combination(str(row["model"]))
        found = published.recipes(str(row["model"]), size) if known and row["drawn"] and not row["reduced"] else ()
        at = "" if size == PAPER_RESOLUTION or row["reduced"] else f" {size} px"
        form = " FB" if str(row["model"]).endswith(".fb") else ""
        others = str(row["label"]).split(" · ")[1:]
        behind = form + at + "".join(f" · {other}" for other in others)
        parts += [
            one.assign(label=point.label + behind, top1_pct=point.top1_pct, accuracy_pct=point.top1_pct)
            for point in found
        ] or [one]
    return pandas.concat(parts, ignore_index=True) if parts else data


def paper_spots(x: str, measured: set[Identity], *, everything: bool = False) -> list[Spot]:
    """The paper's marks: the six of its figure 1 and those of the measured combinations, or all that it prints."""
    chosen = published.figure1_points()
    if everything:
        chosen = tuple(p for p in published.paper_points() if p.table == 4 and p.img_size == PAPER_RESOLUTION)
    points = list(chosen)
    for model, size, ratio in sorted(measured, key=str):
        found = published.paper_point(model, size, ratio, PAPER_RESOLUTION)
        if found is not None and found not in points:
            points.append(found)
    spots = []
    for point in points:
        identity = (point.model, point.kernel_size, point.ratio)
        speed = point.train_img_per_s if x == "train" else point.infer_img_per_s
        if speed is None or point.top1_pct is None:
            continue
        label = point.label if everything else names.network(*identity, sizes=True)
        family = names.family(identity[0])
        line = _line(identity, {"family": family, "label": point.label}, by_family=everything)
        spots.append(Spot(label, family, identity, speed, point.top1_pct, line=line, paper=True))
    return spots


def with_paper(data: pandas.DataFrame, paper: list[Spot]) -> pandas.DataFrame:
    """Ours and the paper's points in one table, told apart by ``series``."""
    import pandas

    columns = ["series", "label", "family", *rows.AXES, "layouts"]
    columns += [*SPEED, *ENERGY]
    columns += ["top1_pct", "accuracy_pct", "drawn", "hollow", "differs", "rounds", "key"]
    theirs = [
        {
            "series": "paper",
            "label": spot.label,
            "family": spot.family,
            **dict(zip(("model", "kernel_size", "ratio"), spot.identity, strict=True)),
            "img_size": PAPER_RESOLUTION,
            "batch": PAPER_BATCH,
            "precision": PAPER_PRECISION,
            "throughput_img_per_s": spot.x,
            "top1_pct": spot.y,
            "accuracy_pct": spot.y,
            "drawn": True,
            "hollow": False,
            "differs": "",
        }
        for spot in paper
    ]
    mine = data.assign(series="measured").reindex(columns=columns)
    parts = [part for part in (mine, pandas.DataFrame(theirs, columns=columns)) if len(part)]
    return pandas.concat([part.astype(object) for part in parts], ignore_index=True) if parts else mine


def combination(row: dict[Any, Any]) -> Identity:
    """Model, kernel size and ratio of a row, None where it has none."""
    return str(row["model"]), rows.whole(row["kernel_size"]), rows.value(row["ratio"])


def _line(identity: Identity, row: Mapping[Any, Any], *, by_family: bool) -> str:
    """The line that a mark is part of, named by its family and whatever else its name says."""
    if by_family:
        # One line, one resolution and one recipe: ResNet-50 has another row that its larger sisters lack.
        whole = rows.whole(row.get("img_size")) in (None, PAPER_RESOLUTION) or bool(row.get("reduced"))
        if not whole or published.combination(identity[0]) != identity or row["label"] == "ResNet-50":
            return ""
    elif identity[0] != "convnext_tiny" or identity[2] != "1":
        return ""
    form = ", FB" if str(row.get("model", "")).endswith(".fb") else ""
    return str(row["family"]) + form + "".join(f", {part}" for part in str(row["label"]).split(" · ")[1:])


def _suffix(row: dict[Any, Any]) -> str:
    what = names.variant(rows.value(row["backend"]), rows.value(row["compile"]))
    if rows.is_imported(row):
        what = ", ".join(part for part in (str(rows.value(row.get("source")) or "imported"), what) if part)
    return f" · {what}" if what else ""


def _differs(row: dict[Any, Any]) -> str:
    """What was not as in the paper, in words; nothing where all of it was."""
    parts = []
    if (precision := rows.value(row["precision"])) not in (None, PAPER_PRECISION):
        parts.append(str(precision))
    if (batch := rows.whole(row["batch"])) not in (None, PAPER_BATCH):
        parts.append(f"batch {batch}")
    if (size := rows.whole(row["img_size"])) not in (None, PAPER_RESOLUTION, 384):
        parts.append(f"{size} px")
    if what := names.variant(rows.value(row["backend"]), rows.value(row["compile"])):
        parts.append(what)
    if rows.value(row["clock"]) == "host":
        parts.append("on a CPU")
    if rows.is_imported(row):
        parts.append(str(rows.value(row["reason"]) or "imported"))
    return ", ".join(parts)


def _notes(data: pandas.DataFrame, *, reduced: bool, overlay: bool) -> list[str]:
    drawn = data[data["drawn"]]
    notes = []
    if reduced and len(drawn):
        pixels = ", ".join(str(size) for size in sorted({rows.whole(cell) or 0 for cell in drawn["img_size"]}))
        notes.append(
            f"Timed at {pixels} px, where no accuracy is published: each point stands at the accuracy published for"
            f" {PAPER_RESOLUTION} px, and its throughput is not that of the trained network."
        )
    imported = [rows.value(cell) or "imported" for cell in drawn.loc[drawn["clock"] == "imported", "reason"]]
    if imported:
        notes.append(
            f"Not measured here, and without an interval: {len(imported)} points {', '.join(sorted(set(imported)))}."
        )
    missing = sorted(set(data.loc[~data["drawn"], "label"]))
    if missing:
        notes.append(f"Without a published accuracy, in the table only: {', '.join(missing)}.")
    notes += _about_layouts(drawn)
    reasons = sorted({reason for reason in drawn["differs"] if reason})
    if overlay and reasons:
        notes.append(f"Hollow: measured at other conditions than the paper's ({'; '.join(reasons)}).")
    return notes


def _about_layouts(drawn: pandas.DataFrame) -> list[str]:
    both = drawn[drawn["layouts"].str.contains(",").astype(bool)]
    if both.empty:
        return []
    winners = {str(layout): sorted(set(part["label"])) for layout, part in both.groupby("layout", sort=True)}
    if len(winners) == 1:
        return [f"The better of both memory formats, here always {next(iter(winners))}."]
    listed = "; ".join(f"{layout} for {', '.join(labels)}" for layout, labels in winners.items())
    return [f"The better of both memory formats: {listed}."]
