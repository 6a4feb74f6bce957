"""The paper's table N with what was counted and measured here beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchbench import units
from benchbench.published import combination
from benchbench.published.entries import Entry, count_reason, entries, identity
from benchbench.reports import rows
from benchbench.reports.names import HEADS
from benchbench.reports.ratios import speed_ratio

if TYPE_CHECKING:
    import pandas

_UNEXPLAINED = "no reason known"


@dataclass(frozen=True, slots=True)
class Build:
    """What became of building one row's network in this call: its counts, or why it did not build.

    macs: as the paper's counter has them, with norms. products: of convolutions, matrix products and attention alone.
    """

    builds: bool
    params: int | None = None
    macs: int | None = None
    products: int | None = None
    note: str = ""


def paper_rows(
    number: int,
    results: pandas.DataFrame | None = None,
    built: Mapping[Entry, Build] | None = None,
    *,
    precision: str | None = None,
) -> list[dict[str, Any]]:
    """One flat object a row of table ``number``, numbers in SI units, None for what is not printed, built or measured.

    results: the frame of ``stats.results`` of any runs; the points at one precision (tf32 where it was measured), stock
    and in eager mode, in their better layout, at batch 128 or else the largest batch. built: by row, as
    ``published.entries.entries(number)`` lists them. Ratios are to the row's baseline, which is named. Raises
    ValueError for a table that does not exist or a precision that was not measured.
    """
    found = entries(number)
    measured = {mode: _measured(results, mode, precision) for mode in ("train", "infer")}
    outcome = built or {}
    return [_row(entry, measured, outcome.get(entry), _baseline(found, entry)) for entry in found]


def footnotes(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every count that differs from the printed digits, with the reason; then what did not build, was measured at other
    conditions than the paper's, and what the source warns of."""
    notes = []
    for row in table:
        for what, unit in (("params_m", "M"), ("macs_g", "G")):
            counted, shown = row[what], row[f"printed_{what}"]
            if counted is not None and shown and not _agrees(counted, shown):
                count, name = ("params", "parameters") if what == "params_m" else ("macs", "MACs")
                reason = count_reason(row["table"], row["model"], row["img_size"], count) or _by_products(row, count)
                notes.append(
                    f"{_title(row)}: {_digits(counted, shown)} {unit} {name} counted, {shown} printed: {reason}."
                )
        if "misprint" in row["note"]:
            notes.append(f"{_title(row)}, the paper's figures: {row['note']}.")
        if row["builds"] is False:
            notes.append(f"{_title(row)} does not build: {row['build_note'] or 'no reason recorded'}.")
    conditions = sorted({at for row in table for at in row["measured_at"].split("; ") if at})
    if conditions:
        notes.append(f"Measured here: {'; '.join(conditions)}. The paper: {', '.join(_machines(table))}.")
    failed = [
        f"{_title(row)} ({mode}: {row[f'{mode}_status']})"
        for row in table
        for mode in ("train", "infer")
        if _bad(row, mode)
    ]
    if failed:
        notes.append(f"Not measured: {', '.join(failed)}.")
    return notes


def elsewhere(table: Sequence[Mapping[str, Any]], results: pandas.DataFrame) -> list[str]:
    """A note where the runs hold networks and none of them is a row at the size of this table."""
    frame = rows.own(rows.networks(rows.tidy(results)))
    if any(row[f"{mode}_status"] for row in table for mode in ("train", "infer")) or frame.empty:
        return []
    sizes = ", ".join(f"{int(size)}" for size in sorted(rows.distinct(frame, "img_size")))
    return [f"None of the networks measured here (at {sizes} px) is a row of this table at its size."]


def _by_products(row: Mapping[str, Any], count: str) -> str:
    """The reason of rows that were copied from papers whose counters leave out norms."""
    products, shown = row["products_g"], row["printed_macs_g"]
    if count == "macs" and products is not None and _agrees(products, shown):
        return f"without the norms that the paper's own counter adds it is {shown}, as in the paper that it comes from"
    return _UNEXPLAINED


def text_rows(table: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The same for people: ours beside the paper's, each throughput with its interval and its ratio to the baseline.

    A point that failed has its status in place of a throughput, and where rows differ in batch each names its own. A
    column that no row fills is left out.
    """
    batches = {mode: {row[f"{mode}_batch"] for row in table} - {None} for mode in ("train", "infer")}
    said = [_said(row, [mode for mode, found in batches.items() if len(found) > 1]) for row in table]
    filled = [name for name in (said[0] if said else ()) if any(row[name] != units.MISSING for row in said)]
    return [{name: row[name] for name in filled} for row in said]


def _row(
    entry: Entry,
    measured: Mapping[str, Mapping[tuple[Any, ...], dict[Any, Any]]],
    built: Build | None,
    baseline: Entry,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "table": entry.table,
        "model": entry.label,
        "network": entry.network,
        "kernel_size": entry.kernel_size,
        "ratio": entry.ratio,
        "img_size": entry.img_size,
        "params_m": None if built is None or built.params is None else built.params / 1e6,
        "macs_g": None if built is None or built.macs is None else built.macs / 1e9,
        "products_g": None if built is None or built.products is None else built.products / 1e9,
        "paper_params_m": float(entry.params_m) if entry.params_m else None,
        "paper_macs_g": float(entry.macs_g) if entry.macs_g else None,
    }
    for mode in ("train", "infer"):
        row |= _speed(entry, baseline, mode, measured[mode])
    good = [m[_key(entry)] for m in measured.values() if _good(m.get(_key(entry)))]
    return row | {
        "baseline": baseline.label,
        "top1_pct": entry.top1_pct,
        "miou_pct": entry.miou_pct,
        "builds": None if built is None else built.builds,
        "build_note": "" if built is None else built.note,
        "note": entry.note,
        "paper_machine": entry.machine,
        "measured_at": "; ".join(dict.fromkeys(map(_conditions, good))),
        "printed_params_m": entry.params_m,
        "printed_macs_g": entry.macs_g,
    }


def _speed(
    entry: Entry, baseline: Entry, mode: str, measured: Mapping[tuple[Any, ...], dict[Any, Any]]
) -> dict[str, Any]:
    ours, theirs = measured.get(_key(entry)), measured.get(_key(baseline))
    paper, paper_base = getattr(entry, f"{mode}_img_per_s"), getattr(baseline, f"{mode}_img_per_s")
    good = _good(ours)
    compared = speed_ratio(ours, theirs) if ours and theirs and good and _good(theirs) else None
    return {
        f"{mode}_img_per_s": rows.value(ours["throughput_img_per_s"]) if ours and good else None,
        f"{mode}_low_img_per_s": rows.value(ours["throughput_low_img_per_s"]) if ours and good else None,
        f"{mode}_high_img_per_s": rows.value(ours["throughput_high_img_per_s"]) if ours and good else None,
        f"{mode}_ratio": compared.value if compared else None,
        f"{mode}_low_ratio": compared.low if compared else None,
        f"{mode}_high_ratio": compared.high if compared else None,
        f"paper_{mode}_img_per_s": paper,
        f"paper_{mode}_ratio": paper / paper_base if paper and paper_base else None,
        f"{mode}_layout": rows.value(ours["layout"]) if ours and good else None,
        f"{mode}_batch": rows.whole(ours["batch"]) if ours else None,
        f"{mode}_status": None if ours is None else str(ours["status"]),
    }


def _measured(
    results: pandas.DataFrame | None, mode: str, precision: str | None
) -> dict[tuple[Any, ...], dict[Any, Any]]:
    """The row of each network, kernel size, ratio and resolution; a failed one where none is right."""
    if results is None:
        return {}
    frame = rows.own(rows.networks(rows.tidy(results)))
    frame, _, _ = rows.one_precision(frame[frame["mode"] == mode], precision) if len(frame) else (frame, "", [])
    good = rows.better_layout(rows.measured(frame))
    found: dict[tuple[Any, ...], dict[Any, Any]] = {}
    ranked = sorted([*good.to_dict("records"), *frame[frame["status"] != "ok"].to_dict("records")], key=_preference)
    for row in ranked:
        if rows.value(row["backend"]) in (None, "aten") and rows.value(row["compile"]) in (None, "eager"):
            found.setdefault(_row_key(row), row)
    return found


def _preference(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    """What is right before what failed, merged in inference, batch 128 before larger ones, own drop path first."""
    batch = rows.whole(row["batch"]) or 0
    merged = str(row["model"]).endswith(".merged")
    return (
        row["status"] != "ok",
        merged != (row["mode"] == "infer"),
        batch != 128,
        -batch,
        str(row.get("drop_path")) != "own",
        str(row["key"]),
    )


def _key(entry: Entry) -> tuple[Any, ...]:
    return (*identity(entry), str(entry.img_size))


def _row_key(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    """As ``_key``: a network whose branches are merged for inference is that network, a frame is height x width."""
    model = str(row["model"]).removesuffix(".merged")
    _, size, share = combination(model, rows.whole(row["kernel_size"]), rows.value(row["ratio"]))
    pixels = rows.whole(row["img_size"])
    if model.split(".")[0] in HEADS and pixels is not None:
        # The tables print the rate of whole frames; a head is trained on square crops of them.
        aspect = rows.whole(row.get("aspect")) or 1
        widest = 4 if model.startswith("upernet") and row["mode"] == "train" else aspect
        return model, size, share, f"{pixels}x{pixels * widest}"
    return model, size, share, str(pixels)


def _baseline(found: Sequence[Entry], entry: Entry) -> Entry:
    """The row of that label at the same resolution, in the form that the paper timed."""
    same = [one for one in found if one.label == entry.baseline and one.img_size == entry.img_size]
    return same[0] if same else entry


def _good(row: Mapping[Any, Any] | None) -> bool:
    return row is not None and row["status"] == "ok"


def _bad(row: Mapping[str, Any], mode: str) -> bool:
    return row[f"{mode}_status"] not in (None, "ok")


def _conditions(row: Mapping[Any, Any]) -> str:
    parts = [rows.value(row["precision"]), f"batch {rows.whole(row['batch'])}"]
    parts += ["CPU"] if rows.value(row["clock"]) == "host" else []
    return ", ".join(str(part) for part in parts if part)


def _machines(table: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({row["paper_machine"] for row in table if row["paper_machine"]})


def _agrees(counted: float, shown: str) -> bool:
    return _digits(counted, shown) == shown


def _digits(counted: float, shown: str) -> str:
    """The count with as many decimals as the paper prints."""
    return f"{counted:.{len(shown.partition('.')[2])}f}"


def _title(row: Mapping[str, Any]) -> str:
    return f"{row['model']}" + (f" at {row['img_size']}" if row["img_size"] != 224 else "")


def _said(row: Mapping[str, Any], by_batch: Sequence[str]) -> dict[str, str]:
    said = {"model": str(row["model"]), "size": str(row["img_size"])}
    for what, title in (("params_m", "params (M)"), ("macs_g", "MACs (G)")):
        shown = row[f"printed_{what}"]
        counted = row[what]
        said[title] = units.MISSING if counted is None else _digits(counted, shown or "0.0")
        said[f"{title}, paper"] = shown or units.MISSING
    for mode in ("train", "infer"):
        speeds = [row[f"{mode}{end}_img_per_s"] for end in ("", "_low", "_high")]
        paper = row[f"paper_{mode}_img_per_s"]
        speed = row[f"{mode}_status"] if _bad(row, mode) else units.throughput_text(*speeds).replace(" img/s", "")
        batch = row[f"{mode}_batch"]
        said[f"{mode} (img/s)"] = f"{speed}, batch {batch}" if mode in by_batch and batch is not None else speed
        said[f"{mode}, paper"] = units.MISSING if paper is None else f"{paper:,g}"
        ratios = [row[f"{mode}{end}_ratio"] for end in ("", "_low", "_high")]
        own = row["baseline"] == row["model"]
        said[f"{mode} against baseline"] = units.MISSING if own else units.change_text(*ratios)
        said[f"{mode} against baseline, paper"] = (
            units.MISSING if own else units.change_text(row[f"paper_{mode}_ratio"])
        )
    said["top-1 (%)"] = units.MISSING if row["top1_pct"] is None else f"{row['top1_pct']:.1f}"
    said["mIoU (%)"] = units.MISSING if row["miou_pct"] is None else f"{row['miou_pct']:.1f}"
    said["builds"] = {True: "yes", False: "no", None: units.MISSING}[row["builds"]]
    return said
