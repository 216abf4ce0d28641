"""A training's data and course, as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .charts import BLUE, GREEN, INK, ORANGE, STYLE, shown_names

_DRAWN_BOXES = 500
_NAMED_CLASSES = 40
_COLUMNS = 4
_TICKS = 4
_BINS = 40


def results_chart(
    epochs: Sequence[int], panels: Mapping[str, Sequence[float | None]], best: int | None
) -> Figure:
    """A small chart of each panel's values over the epochs (from 1); None leaves a gap.

    `best`: the epoch whose weights are the best.
    """
    rows = -(-len(panels) // _COLUMNS)
    with matplotlib.rc_context({**STYLE, "axes.grid.axis": "both"}):
        figure = Figure(figsize=(3 * _COLUMNS, 2.4 * rows), layout="constrained")
        grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axes, (name, values) in zip(grid, panels.items(), strict=False):
            shown = [np.nan if value is None else value for value in values]
            axes.plot(epochs, shown, color=BLUE, marker=".", markersize=4, linewidth=1.4)
            if best is not None:
                axes.axvline(best, color=GREEN, linewidth=0.9, linestyle="--")
            axes.set_title(name)
            # Few: a label takes longer to draw than a curve.
            axes.xaxis.set_major_locator(MaxNLocator(_TICKS, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(_TICKS))
        for axes in grid[len(panels) :]:
            axes.axis("off")
        dashed = "" if best is None else f" (dashed: the best, {best})"
        figure.supxlabel(f"epoch{dashed}", fontsize=9, color=INK)
    return figure


def labels_chart(labels: npt.NDArray[np.float64], names: Sequence[str]) -> Figure:
    """Labels (n, 5) class, xc, yc, w, h (0..1): how many, where and how large they are."""
    counts = np.bincount(labels[:, 0].astype(int), minlength=len(names))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 8), layout="constrained")
        (bars, boxes), (places, sizes) = figure.subplots(2, 2)
        bars.bar(range(len(names)), counts, color=BLUE)
        bars.set_ylabel("boxes")
        if len(names) <= _NAMED_CLASSES:
            bars.set_xticks(
                range(len(names)), shown_names(names), rotation=90 if len(names) > 6 else 0
            )
        else:
            bars.set_xlabel("class")
        half = labels[:: max(1, len(labels) // _DRAWN_BOXES), 3:5] / 2
        corners = 0.5 + half[:, None] * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
        outlines = PolyCollection(corners, facecolor="none", edgecolor=ORANGE, alpha=0.25)
        boxes.add_collection(outlines)
        boxes.set(xlim=(0, 1), ylim=(1, 0), title="boxes, laid on one centre", aspect="equal")
        for axes, x, y, words in (
            (places, 1, 2, ("centre x", "centre y")), (sizes, 3, 4, ("width", "height"))
        ):  # fmt: skip
            density, _, _ = np.histogram2d(labels[:, y], labels[:, x], _BINS, ((0, 1), (0, 1)))
            # One picture: as 1,600 cells it takes a second to draw.
            axes.imshow(density, cmap="Blues", origin="lower", extent=(0, 1, 0, 1))
            axes.set(xlabel=words[0], ylabel=words[1])
            axes.grid(visible=False)
        places.invert_yaxis()  # as in the image
        places.set_title("where they lie, as shares of the image")
        sizes.set_title("how large they are")
    return figure
