"""The curves of a sensitivity, a small plot for each group."""

from __future__ import annotations

import math

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ...pictures.charts import BLUE, ORANGE, RED, STYLE
from ..sensitivity.record import DROPS, Sensitivity

_COLUMNS = 6
_NAMED = 12  # letters of a title: a group may have a dozen layers


def curves_chart(found: Sensitivity, limit: float | None = None) -> Figure:
    """Drop against the share of channels that is gone, and a line at `limit`."""
    with matplotlib.rc_context(STYLE):
        rows = math.ceil(len(found.curves) / _COLUMNS)
        columns = min(_COLUMNS, len(found.curves))
        figure = Figure(figsize=(max(5.0, 1.9 * columns), 0.7 + 1.45 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
        for axes, curve in zip(panels, found.curves, strict=False):
            gone = [0.0, *(100 * point.gone / curve.channels for point in curve.points)]
            drops = [0.0, *(point.drop for point in curve.points)]
            axes.plot(gone, drops, "o-", color=BLUE, markersize=2.5, linewidth=1.3)
            if found.measure == "loss":
                foretold = [0.0, *(_relative(found, point.predicted) for point in curve.points)]
                axes.plot(gone, foretold, "--", color=ORANGE, linewidth=1.0)
            if limit is not None:
                axes.axhline(limit, color=RED, linewidth=0.8, linestyle=":")
            axes.set_title(f"{_short(curve.name)} ({curve.channels})", fontsize=8, pad=3)
            axes.xaxis.set_major_formatter(PercentFormatter(decimals=0))
        for axes in panels[len(found.curves) :]:
            axes.set_visible(False)
        if found.measure != "map":  # one group cut to a tenth would flatten all others
            panels[0].set_yscale("symlog", linthresh=0.01)
        figure.supxlabel(
            "channels gone, by the layers of a group (and how many it has)", fontsize=9
        )
        figure.supylabel(DROPS[found.measure], fontsize=9)
        return figure


def _relative(found: Sensitivity, predicted: float | None) -> float:
    return (predicted or 0.0) / found.base.loss if found.base.loss else 0.0


def _short(name: str) -> str:
    if len(name) <= _NAMED:
        return name
    words = name.split()
    return f"{words[0]} .. {words[-1]}"
