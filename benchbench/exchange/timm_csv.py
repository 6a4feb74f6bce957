"""timm's benchmark tables (results/benchmark-*.csv of huggingface/pytorch-image-models), both ways.

The columns of a mode carry its name: infer_samples_per_sec, train_step_time. Steps are milliseconds a batch, parameters
and multiply-adds millions and billions. What a table was measured on is said by its file name alone.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchbench.exchange.source import Export, Run, imported, only, rows
from benchbench.record import Record

COLUMNS = {
    "infer": (
        "model", "infer_img_size", "infer_samples_per_sec", "infer_step_time", "infer_batch_size", "param_count",
        "infer_gmacs", "infer_macts",
    ),
    "train": ("model", "train_samples_per_sec", "train_step_time", "train_batch_size", "train_img_size", "param_count"),
}  # fmt: skip
# What timm calls mixed precision is float16 under autocast, unless it says bf16.
PRECISIONS = {"amp": "amp-fp16", "amp_bf16": "amp-bf16", "bf16": "bf16", "fp16": "fp16", "fp32": "fp32", "tf32": "tf32"}


def export(runs: Sequence[Run]) -> Export:
    """One file a mode, precision, layout, compilation and backend: a table of timm's holds one of each."""
    run = only(runs, "timm")
    found, left = rows(run)
    tables: dict[str, list[dict[str, Any]]] = {}
    left_out = list(left)
    for row in found:
        params = row["params"]
        mode = str(params.get("mode"))
        if "model" not in params or mode not in COLUMNS:
            left_out.append(f"{row['key']}: timm's tables hold networks alone")
            continue
        tables.setdefault(_file_name(run, params), []).append(_row(row, params, mode))
    if not tables:
        raise ValueError(f"run {run.name} has no measured network: timm's tables hold networks alone")
    return Export({name: _text(table) for name, table in tables.items()}, tuple(left_out))


def _row(row: Mapping[str, Any], params: Mapping[str, Any], mode: str) -> dict[str, Any]:
    cells: dict[str, Any] = dict.fromkeys(COLUMNS[mode], "")
    cells["model"] = _model(params)
    cells[f"{mode}_img_size"] = params.get("img_size", "")
    cells[f"{mode}_batch_size"] = params.get("batch", "")
    cells[f"{mode}_samples_per_sec"] = row["throughput_img_per_s"]
    cells[f"{mode}_step_time"] = row["median_s"] * 1e3
    return cells


def _model(params: Mapping[str, Any]) -> str:
    """The network's name with what the suite changed in it: timm's tables have no column for that."""
    changed = [f"{name}={params[name]}" for name in ("kernel_size", "ratio") if name in params]
    return " ".join([str(params["model"]), *changed])


def _text(table: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        sorted(table, key=lambda cells: -float(cells[next(c for c in cells if c.endswith("per_sec"))] or 0))
    )
    return text.getvalue()


def _file_name(run: Run, params: Mapping[str, Any]) -> str:
    precision = next((k for k, v in PRECISIONS.items() if v == params.get("precision")), str(params.get("precision")))
    torch = "pt" + re.sub(r"[^0-9]", "", run.known("torch", "").partition("+")[0])
    cuda = "cu" + run.known("cuda").replace(".", "") if run.known("gpu") else "cpu"
    device = re.sub(r"[^a-z0-9]+", "_", (run.known("gpu") or run.known("cpu", "unknown")).lower()).strip("_")
    more = [str(params[name]) for name in ("backend", "compile") if params.get(name) not in (None, "aten", "eager")]
    parts = ["benchmark", str(params["mode"]), precision, str(params.get("layout", "nchw")), torch, cuda, device, *more]
    return "-".join(parts) + ".csv"


def recognises(text: str) -> bool:
    """Whether a first line is the header of such a table."""
    header = text.partition("\n")[0].strip().split(",")
    return header[0] == "model" and any(re.fullmatch(r"(infer|train)_samples_per_sec", name) for name in header)


def read(text: str, path: Path) -> list[Record]:
    """One Record a network and mode, with one sample: batch over images a second. Steps are not used: they are rounded.

    Precision, layout and compilation come from the file's name, where it follows timm's custom.
    """
    found = []
    for line, row in enumerate(csv.DictReader(io.StringIO(text)), start=2):
        for mode in COLUMNS:
            rate = row.get(f"{mode}_samples_per_sec")
            if not rate:
                continue
            try:
                images_per_s, batch = float(rate), int(float(row[f"{mode}_batch_size"]))
                size = int(float(row[f"{mode}_img_size"]))
            except (KeyError, ValueError) as error:
                raise ValueError(f"line {line}: {error}") from None
            if not images_per_s > 0:
                raise ValueError(f"line {line}: {mode}_samples_per_sec is {rate}")
            params = {"model": row["model"], "mode": mode, "batch": batch, "img_size": size, **conditions(path.stem)}
            found.append(imported("timm", "network", params, [batch / images_per_s], items=batch))
    return found


def conditions(stem: str) -> dict[str, str]:
    """What a file's name says: precision, layout, compile, and what it was measured on."""
    named = re.fullmatch(r"benchmark-(?:infer|train)-([a-z0-9_]+)-(nchw|nhwc)-(pt\d+)-(.+?)(-dynamo)?", stem)
    if named is None:
        return {"source": stem}
    precision, layout, torch, device, dynamo = named.groups()
    return {
        "precision": PRECISIONS.get(precision, precision),
        "layout": layout,
        "compile": "default" if dynamo else "eager",
        "source": f"{torch}-{device}",
    }
