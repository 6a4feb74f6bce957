"""How every figure looks: two themes, colours that all readers tell apart, a marker shape for each family."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

# The palette of Okabe and Ito (2008), "Color Universal Design", https://jfly.uni-koeln.de/color/
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

LABEL_SIZE = 7.5
NOTE_SIZE = 6.5
LONGEST_LABEL = 48


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of the paper and the ink; ``series`` are told apart on this background."""

    name: str
    paper: str
    ink: str
    muted: str
    faint: str
    series: tuple[str, ...]


THEMES = {
    "light": Theme(
        "light", "#ffffff", "#1f2328", "#6e7781", "#e4e7eb", (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, "#1f2328")
    ),
    # Blue and black would sink into a dark page: sky blue leads there, and white takes the place of black.
    "dark": Theme(
        "dark", "#0d1117", "#e6edf3", "#9198a1", "#262c36", (SKY, VERMILLION, GREEN, PURPLE, ORANGE, YELLOW, "#e6edf3")
    ),
}
# Thirteen markers and seven colours repeat a pair only after ninety-one families.
MARKERS = ("o", "*", "s", "D", "^", "v", "P", "X", "<", ">", "h", "p", "d")
# A star and a triangle of the same nominal size look smaller than a disc.
_MARKER_SCALE = {
    "*": 1.7,
    "^": 1.15,
    "v": 1.15,
    "<": 1.15,
    ">": 1.15,
    "P": 1.15,
    "X": 1.15,
    "D": 0.88,
    "d": 1.2,
    "s": 0.93,
}


def theme(name: str) -> Theme:
    """The theme of this name. Raises ValueError for any other than light and dark."""
    if name not in THEMES:
        raise ValueError(f"no theme {name!r}: choose light or dark")
    return THEMES[name]


def colour(index: int, chosen: Theme) -> str:
    """The colour of the series with this number; they come round again after seven, with another marker."""
    return chosen.series[index % len(chosen.series)]


def text_colour(index: int, chosen: Theme) -> str:
    """The same colour with some ink in it, because letters are thinner than marks."""
    from matplotlib.colors import to_hex, to_rgb

    pairs = zip(to_rgb(colour(index, chosen)), to_rgb(chosen.ink), strict=True)
    red, green, blue = (0.75 * pigment + 0.25 * ink for pigment, ink in pairs)
    return str(to_hex((red, green, blue)))


def marker(index: int) -> str:
    """The marker of the series with this number."""
    return MARKERS[index % len(MARKERS)]


def marker_size(shape: str, size: float = 6.0) -> float:
    """The size at which this marker looks as large as the others."""
    return size * _MARKER_SCALE.get(shape, 1.0)


@contextmanager
def style(chosen: Theme) -> Iterator[None]:
    """matplotlib's own defaults with this theme, whatever the reader's matplotlibrc says; undone on leaving."""
    import matplotlib

    with matplotlib.rc_context(_settings(chosen)):
        yield


def plain(text: object, longest: int = LONGEST_LABEL) -> str:
    """Any text as a label: one line, no mathematics, no glyph that the font lacks, cut where it would fill the page."""
    words = " ".join(str(text).split())
    drawable = _drawable()
    kept = "".join(c if ord(c) in drawable and unicodedata.category(c)[0] != "C" else "?" for c in words)
    if len(kept) > longest:
        kept = kept[: longest - 1] + "…"
    return kept.replace("$", r"\$")


@cache
def _drawable() -> frozenset[int]:
    from matplotlib import font_manager

    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def _settings(chosen: Theme) -> Any:
    import matplotlib

    machine = (
        "backend",
        "interactive",
        "toolbar",
        "timezone",
        "webagg",
        "datapath",
        "savefig.directory",
        "tk.",
        "macosx",
    )
    settings: dict[Any, Any] = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith(machine)}
    settings.update(
        {
            "figure.facecolor": chosen.paper,
            "savefig.facecolor": chosen.paper,
            "axes.facecolor": chosen.paper,
            "axes.edgecolor": chosen.muted,
            "axes.labelcolor": chosen.ink,
            "axes.linewidth": 0.7,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.labelsize": 8.5,
            "axes.titlesize": 8.5,
            "axes.titlecolor": chosen.ink,
            "axes.axisbelow": True,
            "axes.grid": True,
            "grid.color": chosen.faint,
            "grid.linewidth": 0.6,
            "text.color": chosen.ink,
            "xtick.color": chosen.muted,
            "ytick.color": chosen.muted,
            "xtick.labelcolor": chosen.ink,
            "ytick.labelcolor": chosen.ink,
            "xtick.labelsize": 7.5,
            "ytick.labelsize": 7.5,
            "xtick.major.width": 0.7,
            "ytick.major.width": 0.7,
            "xtick.minor.size": 0,
            "ytick.minor.size": 0,
            "legend.frameon": False,
            "legend.fontsize": LABEL_SIZE,
            "font.family": "DejaVu Sans",
            "figure.dpi": 100,
            "savefig.dpi": 200,
            "svg.hashsalt": "benchbench",
            "svg.fonttype": "path",
            "pdf.fonttype": 42,
            "path.simplify": False,
        }
    )
    return settings
