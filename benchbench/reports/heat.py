"""Which elements of a tensor does a kernel touch, and how often? The mean over planes, drawn as the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchbench.reports.chart import Chart
from benchbench.reports.sheet import sheet
from benchbench.reports.theme import Theme, style
from benchbench.reports.theme import theme as theme_named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONGER_SIDE = 4.2  # inches
_SHORTER_SIDE = 1.0


def heat(kernel: str, kind: str, tensor: str, touches: Sequence[Sequence[float]], *, theme: str = "light") -> Chart:
    """touches: how often each element is loaded (or stored, by ``kind``), rows x columns of the last two dimensions.

    A flat count of 1 is a kernel that asks for nothing twice; bands and columns of higher counts are halos and shifted
    reloads. Raises ValueError where there is nothing to draw.
    """
    import pandas

    if not touches or not touches[0]:
        raise ValueError(f"no heat map of {tensor}: its shape is not known, or others share its memory")
    chosen = theme_named(theme)
    listed = [(r, c, count) for r, row in enumerate(touches) for c, count in enumerate(row)]
    data = pandas.DataFrame(listed, columns=["row", "column", "touches"])
    least, most = data["touches"].min(), data["touches"].max()
    notes = [f"An element is touched {least:.4g} to {most:.4g} times, {data['touches'].mean():.4g} in the mean."]
    with style(chosen):
        figure = _draw(f"{kernel}: {kind}s of {tensor}", touches, chosen, notes)
    return Chart(f"heat-{_word(kernel)}-{kind}-{_word(tensor)}", figure, data, notes, theme)


def _word(name: str) -> str:
    """A part of a file name."""
    return "".join(letter if letter.isalnum() or letter == "_" else "-" for letter in name).strip("-")


def _draw(title: str, touches: Sequence[Sequence[float]], chosen: Theme, notes: Sequence[str]) -> Figure:
    rows, columns = len(touches), len(touches[0])
    scale = _LONGER_SIDE / max(rows, columns)
    width, height = max(columns * scale, _SHORTER_SIDE), max(rows * scale, _SHORTER_SIDE)
    # Beside the panel the scale of colours, and room for its numbers.
    widths = (width, 0.14, 0.3)
    subtitle = ["how often each element is touched, the mean over the planes"]
    figure, axes = sheet(
        chosen, title=title, subtitle=subtitle, notes=notes, widths=widths, heights=(height,), gap=(0.12, 0.42)
    )
    panel, bar, room = axes[0]
    room.set_axis_off()
    highest = max(max(row) for row in touches)
    image = panel.imshow(touches, cmap="cividis", vmin=0, vmax=highest or 1, aspect="auto", interpolation="nearest")
    panel.set_xlabel("column")
    panel.set_ylabel("row")
    panel.grid(False)
    figure.colorbar(image, cax=bar)
    return figure
