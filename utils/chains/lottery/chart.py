"""The picture of a lottery: mAP against sparsity, of the ticket and of its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ...pictures.charts import BLUE, GREEN, ORANGE, STYLE, save_png

_COLOURS = {"ticket": BLUE, "random_masks": ORANGE, "random_weights": GREEN}


def lottery_chart(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """One line each; they start from the one training without masks."""
    shares = [100 * row["sparsity"] for row in rows]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6, 3.6), layout="constrained")
        axes = figure.subplots()
        for column, colour in _COLOURS.items():
            values = [row[column] for row in rows]
            name = column.replace("_", " ")
            axes.plot(shares, values, "o-", color=colour, markersize=3.5, label=name)
        axes.xaxis.set_major_formatter(PercentFormatter())
        axes.set_xlabel("weights masked")
        axes.set_ylabel("mAP@.5")
        axes.legend(loc="best")
        save_png(figure, path)
