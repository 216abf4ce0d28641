"""The picture of iterative pruning: mAP and cost against the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ...pictures.charts import BLUE, GREEN, ORANGE, PALE, RED, STYLE, save_png


def steps_chart(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Left mAP@.5 after pruning and after finetuning, right what is left; one place per step."""
    steps = [row["step"] for row in rows]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 3.6), layout="constrained")
        scores, costs = figure.subplots(1, 2)
        for name, key, colour in (
            ("pruned", "map50_pruned", ORANGE),
            ("recovered", "map50", BLUE),
        ):
            values = [row[key] for row in rows]
            scores.plot(steps, values, "o-", color=colour, markersize=3.5, label=name)
        bad = [row for row in rows if not row["good"]]
        if bad:
            where = [row["step"] for row in bad], [row["map50"] for row in bad]
            scores.plot(*where, "o", markersize=9, markerfacecolor="none", markeredgecolor=RED)
        scores.axhline(rows[0]["map50"], color=PALE, linestyle="--", label="start")
        scores.set_ylabel("mAP@.5")
        for name, key, colour in (
            ("MACs", "macs", ORANGE), ("parameters", "parameters", BLUE),
            ("channels", "channels", GREEN),
        ):  # fmt: skip
            shares = [100 * row[key] / rows[0][key] for row in rows]
            costs.plot(steps, shares, "o-", color=colour, markersize=3.5, label=name)
        costs.set_ylim(0, 105)
        costs.yaxis.set_major_formatter(PercentFormatter())
        costs.set_ylabel("what is left")
        for axes in (scores, costs):
            axes.set_xlabel("step")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(loc="best")
        save_png(figure, path)
