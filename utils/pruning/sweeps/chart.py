"""The picture of a sweep."""

from __future__ import annotations

from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ...pictures.charts import BLUE, GREEN, ORANGE, RED, STYLE, legend_above
from .curve import Sweep, SweepPoint


def sweep_chart(sweep: Sweep) -> Figure:
    """What is left, and mAP where it was measured, against the ratio; knee and choice marked."""
    scored = sweep.points[0].map50 is not None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 3.6 if scored else 3.4), layout="constrained")
        panels = figure.subplots(1, 2 if scored else 1, squeeze=False)[0]
        if scored:
            _score_panel(panels[0], sweep)
        _cost_panel(panels[-1], sweep)
        for axes in panels:
            axes.set_xlabel(_unit_label(sweep))
            if sweep.unit == "shortcuts":
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if sweep.chosen is not None:
                axes.axvline(sweep.chosen, color=GREEN, linewidth=1.2, linestyle="--")
        return figure


def _score_panel(axes: Axes, sweep: Sweep) -> None:
    values = [point.value for point in sweep.points]
    for name, key, colour in (("mAP@.5", "map50", BLUE), ("mAP@.5:.95", "map", ORANGE)):
        scores = [getattr(point, key) for point in sweep.points]
        axes.plot(values, scores, "o-", color=colour, markersize=3.5, linewidth=1.6, label=name)
    top = max(point.map50 or 0 for point in sweep.points)
    axes.set_ylim(min(0, *axes.get_ylim()), max(top * 1.15, 0.01))
    knee = sweep.knee
    if knee is not None:
        _mark(axes, knee, f"knee {knee.value:g}", RED, left=True)
    if sweep.chosen is not None:
        point = next(p for p in sweep.points if p.value == sweep.chosen)
        if knee is None or knee.value != sweep.chosen:
            _mark(axes, point, f"chosen {point.value:g}", GREEN, left=False)
        floor = (sweep.points[0].map50 or 0) - (sweep.max_map_drop or 0)
        label = f"{sweep.max_map_drop:g} below the start"
        axes.axhline(floor, color=GREEN, linewidth=1, linestyle=":", label=label)
    axes.set_ylabel("mAP before finetuning")
    legend_above(axes)


def _mark(axes: Axes, point: SweepPoint, text: str, colour: str, left: bool) -> None:
    """A ring around a point, with a word above it to one side, away from the border."""
    place = (point.value, point.map50 or 0.0)
    axes.plot(*place, "o", markersize=9, markerfacecolor="none", markeredgecolor=colour)
    start, end = axes.get_xlim()
    share = (point.value - start) / (end - start)
    left = share > 0.2 if left else share > 0.8
    beside: dict[str, Any] = {"ha": "right" if left else "left", "textcoords": "offset points"}
    offset = (-7 if left else 7, 6)
    axes.annotate(text, place, offset, color=colour, weight="bold", **beside)


def _cost_panel(axes: Axes, sweep: Sweep) -> None:
    first = sweep.points[0]
    values = [point.value for point in sweep.points]
    for name, key, colour in (("parameters", "parameters", BLUE), ("MACs", "macs", ORANGE)):
        shares = [100 * getattr(point, key) / getattr(first, key) for point in sweep.points]
        axes.plot(values, shares, "o-", color=colour, markersize=3.5, linewidth=1.6, label=name)
    axes.set_ylim(0, 105)
    axes.yaxis.set_major_formatter(PercentFormatter())
    axes.set_ylabel("what is left")
    legend_above(axes)


def _unit_label(sweep: Sweep) -> str:
    if sweep.unit == "ratio":
        return "ratio of channels to remove"
    return "shortcuts removed, with their branches"
