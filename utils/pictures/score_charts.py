"""What a detector is worth, as charts: curves over the confidence, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from .charts import BLUE, GRID, INK, PALE, STYLE, one_plot, shown_names

_NAMED_CLASSES = 10  # more lines cannot be told apart
_WRITTEN_CLASSES = 20  # of more the cells are too small for numbers
_COLOURS = (
    "#dd7a1f", "#2f855a", "#c53030", "#6b46c1", "#b7791f",
    "#2c7a7b", "#b83280", "#718096", "#975a16", "#4a5568",
)  # fmt: skip

Numbers = npt.NDArray[np.float64]


def curve_chart(
    axis: tuple[str, Numbers],
    what: str,
    rows: Numbers,
    names: Sequence[str],
    mark: float | None = None,
) -> Figure:
    """`rows` (classes, n), one for each name, over the (n,) numbers of `axis`, and their mean.

    `mark`: the place on the axis where F1 is best. nan is not drawn, and takes no part in the mean.
    """
    label, numbers = axis
    names = shown_names(names)
    known = ~np.isnan(rows)
    count = known.sum(axis=0)
    mean = np.where(count, np.where(known, rows, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
    over_recall = mark is None and label == "recall"
    with matplotlib.rc_context(STYLE):
        figure, axes = one_plot(7.2, 4.6)
        several = len(names) > 1
        named = several and len(names) <= _NAMED_CLASSES
        for place, (row, name) in enumerate(zip(rows, names, strict=True)):
            if several:
                colour = _COLOURS[place] if named else PALE
                text = f"{name} {row.mean():.3f}" if over_recall else name
                axes.plot(numbers, row, color=colour, linewidth=1, label=text if named else None)
        whole = "all classes" if several else names[0]
        best = np.nanmax(mean) if not np.isnan(mean).all() else 0.0
        if over_recall:
            whole += f" {mean.mean():.3f} mAP@.5"
        elif what == "F1":
            whole += f" {best:.2f}"
        axes.plot(numbers, mean, color=BLUE, linewidth=2.2, label=whole)
        if mark is not None:
            axes.axvline(mark, color=INK, linewidth=0.8, linestyle="--")
            axes.set_title(f"dashed: best F1, at {mark:.3g}", loc="right", fontsize=8)
        axes.set(xlabel=label, ylabel=what, xlim=(0, numbers[-1]), ylim=(0, 1.02))
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def confusion_chart(counts: npt.NDArray[np.int64], names: Sequence[str], title: str) -> Figure:
    """`counts` (nc + 1, nc + 1): rows detected, columns there, last is nothing; as shares of each
    column."""
    labels = [*shown_names(names), "background"]
    shares = counts / np.maximum(counts.sum(axis=0, keepdims=True), 1)
    side = float(np.clip(2.5 + 0.45 * len(labels), 4.5, 16))
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = one_plot(side + 0.8, side)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        written = len(labels) <= _WRITTEN_CLASSES
        if written:
            for (row, column), count in np.ndenumerate(counts):
                ink = "white" if shares[row, column] > 0.5 else INK
                text = str(count) if count else ""
                axes.text(column, row, text, ha="center", va="center", color=ink)
        if written or len(labels) <= 100:
            small = 9 if written else 5
            axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=small)
            axes.set_yticks(range(len(labels)), labels, fontsize=small)
        axes.set(xlabel="what is there", ylabel="what was detected")
        axes.set_title(title, fontsize=8)
        axes.spines[:].set_color(GRID)
        bar = figure.colorbar(image, ax=axes, shrink=0.7)
        bar.set_label("share of the column")
    return figure
