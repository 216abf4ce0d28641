"""How charts look, and how they are written: SVG for pages, PNG for files."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED = "#2b6cb0", "#dd7a1f", "#2f855a", "#c53030"
PALE, PINK, INK, GRID = "#cbd5e0", "#feb2b2", "#2d3748", "#e2e8f0"

# The look of all pictures, for `matplotlib.rc_context`.
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "svg.hashsalt": "darkslim",  # the same picture gives the same file
}


def one_plot(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches with one plot."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def legend_above(axes: Axes) -> None:
    """The legend in one row above the plot, to the right."""
    tight = {"borderaxespad": 0.2, "handlelength": 1.5, "columnspacing": 1.4}
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, **tight)


def shown_names(names: Sequence[str]) -> list[str]:
    """Names as matplotlib shows them to the letter: no formulas, none left out of a legend."""
    padded = (f" {name}" if name.startswith("_") else name for name in names)
    return [name.replace("$", r"\$") for name in padded]


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure, 150 pixels an inch, on white."""
    save_picture(figure, path, "png", 150)


def save_picture(figure: Figure, path: Path, kind: str, dpi: int) -> None:
    """Write a figure on white; `kind` is png or jpg."""
    with warnings.catch_warnings():
        # Letters that matplotlib's font lacks are drawn as boxes: a reader sees that.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(path, format=kind, dpi=dpi, facecolor="white")


def inline_svg(figure: Figure, label: str, titles: Mapping[str, str] | None = None) -> str:
    """A figure as an `<svg>` element for a page; `label` says what it shows.

    `titles` maps the gid of a shape to the text that shows when the mouse rests on it.
    """
    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context(STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    # Numbered ids (figure_1, patch_3) would stand twice in a page with two pictures.
    svg = re.sub(r' id="[^"_]+_\d+"', "", svg)
    for gid, title in (titles or {}).items():
        svg = svg.replace(f'<g id="{gid}">', f"<g><title>{escape(title)}</title>", 1)
    # Without a size of its own it takes the width of the page.
    start, bracket, rest = svg.partition(">")
    start = re.sub(r' (width|height)="[^"]*"', "", start)
    start = start.replace("<svg", f'<svg role="img" aria-label={quoteattr(label)}', 1)
    return start + bracket + rest
