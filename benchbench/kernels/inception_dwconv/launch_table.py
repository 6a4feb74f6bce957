"""Which launches were measured to be faster than those that the rules give? One row of launch_table.csv each."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .launch import Geometry

FILE = "launch_table.csv"
# What a row is of; then come the choices ("ROW_S=2 COPY=2048"), their share of the time that the rules' launch takes,
# and the run that says so.
KEY = ("arch", "layout", "direction", "itemsize", "channels", "height", "width", "branch", "square", "band")
COLUMNS = (*KEY, "choices", "share", "run")


def choices_of(geometry: Geometry, itemsize: int, layout: str, direction: str, arch: int) -> Mapping[str, int]:
    """The choices of the row for this call, whatever its batch; none where there is no row. itemsize: as planned."""
    g = geometry
    key = (arch, layout, direction, itemsize, g.channels, g.height, g.width, g.branch, g.square, g.band)
    return rows().get(tuple(map(str, key)), {})


@functools.cache
def rows() -> Mapping[tuple[str, ...], Mapping[str, int]]:
    """The choices by KEY. Of rows for the same key the last one counts."""
    text = files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return {tuple(row[column] for column in KEY): parsed(row["choices"]) for row in csv.DictReader(text.splitlines())}


def parsed(choices: str) -> dict[str, int]:
    """{"ROW_S": 2, "COPY": 2048} of "ROW_S=2 COPY=2048"."""
    pairs = (word.split("=") for word in choices.split())
    return {name: int(value) for name, value in pairs}
