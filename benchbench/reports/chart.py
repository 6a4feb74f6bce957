"""What a figure is: the drawing, the numbers that it draws, and what a reader must know beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Chart:
    """A figure with its data, one row a point (those that are not drawn included), and its notes.

    ``name`` is a file name without suffix; ``theme`` is the theme it was drawn in, which saving needs again.
    """

    name: str
    figure: Figure
    data: pandas.DataFrame
    notes: list[str] = field(default_factory=list)
    theme: str = "light"
