"""A chart as files: PNG, SVG and PDF with the data beside them as CSV; the same chart gives the same bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benchbench.reports.chart import Chart
from benchbench.reports.theme import style, theme

# A date or a version in the file would make two equal figures differ.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "benchbench"},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": "benchbench", "Producer": None},
}
FORMATS = tuple(_METADATA)


def save(
    chart: Chart, folder: str | os.PathLike[str], name: str = "", *, formats: tuple[str, ...] = FORMATS
) -> list[Path]:
    """Write the chart as ``name``.png, .svg, .pdf and .csv into the folder, made where it is missing.

    Returns the paths written, the data last. Raises ValueError for a format that is none of png, svg, pdf, and OSError
    where the folder cannot be written.
    """
    unknown = [kind for kind in formats if kind not in _METADATA]
    if unknown:
        raise ValueError(f"no figure format {unknown[0]!r}: choose among {', '.join(FORMATS)}")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    stem = name or chart.name
    written = []
    for kind in formats:
        path = target / f"{stem}.{kind}"
        with style(theme(chart.theme)):
            chart.figure.savefig(path, format=kind, metadata=_METADATA[kind])
        written.append(path)
    data = target / f"{stem}.csv"
    chart.data.to_csv(data, index=False, lineterminator="\n")
    return [*written, data]
