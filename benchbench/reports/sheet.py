"""The page under every figure: a title, what it shows, a legend, panels and footnotes, laid out in inches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from benchbench.reports.theme import LABEL_SIZE, NOTE_SIZE, Theme, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE_SIZE, SUBTITLE_SIZE = 11.0, 8.0
_EDGE, _LINE = 0.16, 1.38  # inches around everything; line spacing in font sizes


def sheet(
    chosen: Theme,
    *,
    title: str,
    subtitle: Sequence[str] = (),
    notes: Sequence[str] = (),
    handles: Sequence[Any] = (),
    widths: Sequence[float] = (5.4,),
    heights: Sequence[float] = (3.4,),
    left: float = 0.62,
    gap: tuple[float, float] = (0.32, 0.42),
    below: float = 0.5,
    above: float = 0.0,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with its words in place and empty panels, ``axes[row][column]``.

    widths, heights: of the panels, in inches; the figure grows with its words, so that none runs over another.
    left, below, above: room for the axis titles, and for a heading of each column. gap: between panels, across, down.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = sum(widths) + gap[0] * (len(widths) - 1)
    width = left + panels + _EDGE + 0.06
    text_width = width - 2 * _EDGE
    titles = wrapped(title, TITLE_SIZE * 1.06, text_width)
    subtitles = [line for text in subtitle for line in wrapped(text, SUBTITLE_SIZE, text_width)]
    footnotes = [line for text in notes for line in wrapped(text, NOTE_SIZE, text_width)]
    legend_rows = _legend_rows(handles, text_width)
    top = _EDGE + _height(titles, TITLE_SIZE) + _height(subtitles, SUBTITLE_SIZE) + 0.1
    legend_height = 0.21 * len(legend_rows) + (0.06 if legend_rows else 0.0)
    bottom = below + (_height(footnotes, NOTE_SIZE) + 0.06 if footnotes else 0.0) + _EDGE * 0.6
    body = sum(heights) + gap[1] * (len(heights) - 1)
    height = top + legend_height + above + body + bottom
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)

    def place(x: float, y: float, text: str, **look: Any) -> None:
        figure.text(x / width, 1 - y / height, text, va="top", ha="left", **look)

    y = _EDGE
    for line in titles:
        place(_EDGE, y, line, fontsize=TITLE_SIZE, fontweight="bold", color=chosen.ink)
        y += TITLE_SIZE * _LINE / 72
    for line in subtitles:
        place(_EDGE, y, line, fontsize=SUBTITLE_SIZE, color=chosen.muted)
        y += SUBTITLE_SIZE * _LINE / 72
    for number, entries in enumerate(legend_rows):
        figure.legend(
            handles=entries,
            loc="upper left",
            bbox_to_anchor=((_EDGE - 0.04) / width, 1 - (y + 0.06 + 0.21 * number) / height),
            ncols=len(entries),
            borderpad=0,
            borderaxespad=0,
            handlelength=2.3,
            columnspacing=1.3,
            handletextpad=0.5,
            labelcolor=chosen.ink,
        )
    y = height - _EDGE * 0.6 - _height(footnotes, NOTE_SIZE)
    for line in footnotes:
        place(_EDGE, y, line, fontsize=NOTE_SIZE, color=chosen.muted)
        y += NOTE_SIZE * _LINE / 72

    axes: list[list[Axes]] = []
    y = top + legend_height + above
    for row, panel_height in enumerate(heights):
        axes.append([])
        x = left
        for column, panel_width in enumerate(widths):
            box = (x / width, 1 - (y + panel_height) / height, panel_width / width, panel_height / height)
            shared: dict[str, Any] = {
                "sharex": axes[0][column] if sharex and row else None,
                "sharey": axes[row][0] if sharey and column else None,
            }
            axes[row].append(figure.add_axes(box, **shared))
            x += panel_width + gap[0]
        y += panel_height + gap[1]
    return figure, axes


def wrapped(text: str, size: float, inches: float) -> list[str]:
    """The text in lines that fit, measured in the font that draws it. A word longer than a line is cut."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and text_width(longer, size) > inches:
                lines.append(line)
                longer = word
            while text_width(longer, size) > inches and len(longer) > 1:
                cut = next(n for n in range(len(longer) - 1, 0, -1) if n == 1 or text_width(longer[:n], size) <= inches)
                lines.append(longer[:cut])
                longer = longer[cut:]
            line = longer
        if line:
            lines.append(line)
    return [line.replace("$", r"\$") for line in lines]


@cache
def text_width(text: str, size: float) -> float:
    """Inches that a line takes in the figures' font at this size."""
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    font.set_size(100, 72)
    font.set_text(text)
    # Hinting widens small text by a few per cent over its nominal width.
    return float(font.get_width_height()[0]) / 64 / 100 * size / 72 * 1.04


def _height(lines: Sequence[str], size: float) -> float:
    return len(lines) * size * _LINE / 72


def _legend_rows(handles: Sequence[Any], inches: float) -> list[list[Any]]:
    rows: list[list[Any]] = []
    used = inches
    for handle in handles:
        needed = text_width(str(handle.get_label()), LABEL_SIZE) + 0.5
        if used + needed > inches:
            rows.append([])
            used = 0.0
        rows[-1].append(handle)
        used += needed
    return rows


def words(*parts: str) -> str:
    """Non-empty parts as one line with dots between them."""
    return " · ".join(plain(part, 300) for part in parts if part)
