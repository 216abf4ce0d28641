"""A training's data and course, as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from .charts import BLUE, GREEN, INK, ORANGE, STYLE, shown_names

_DRAWN_BOXES = 500
_NAMED_CLASSES = 40
_COLUMNS = 4


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
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
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
        step = max(1, len(labels) // _DRAWN_BOXES)
        for _, _, _, w, h in labels[::step]:
            corner = (0.5 - w / 2, 0.5 - h / 2)
            boxes.add_patch(Rectangle(corner, w, h, fill=False, edgecolor=ORANGE, alpha=0.25))
        boxes.set(xlim=(0, 1), ylim=(1, 0), title="boxes, laid on one centre", aspect="equal")
        for axes, x, y, words in (
            (places, 1, 2, ("centre x", "centre y")), (sizes, 3, 4, ("width", "height"))
        ):  # fmt: skip
            axes.hist2d(labels[:, x], labels[:, y], bins=40, range=((0, 1), (0, 1)), cmap="Blues")
            axes.set(xlabel=words[0], ylabel=words[1], aspect="equal")
            axes.grid(visible=False)
        places.invert_yaxis()  # as in the image
        places.set_title("where they lie, as shares of the image")
        sizes.set_title("how large they are")
    return figure
