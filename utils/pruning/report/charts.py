"""Pictures of a prune and of a sweep, as matplotlib figures; SVG for pages, PNG for files."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from ..sweeps.curve import Sweep, SweepPoint

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
_BINS = 60
_LOG_SPAN = 30  # wider spreads, from a low quantile to the top, get a logarithmic axis
_LEAST_SCORE = 1e-6  # of the largest: what is below stands in the first bin


@dataclass(frozen=True)
class LayerBar:
    """Channels of one convolution before and after, and what to say about it."""

    index: int
    before: int
    after: int
    removed: bool  # with its block
    said: str


@dataclass(frozen=True)
class ScoreGroups:
    """Scores of channels by what happens to them, and the threshold (None: there is none)."""

    name: str
    removed: NDArray[np.float64]
    with_block: NDArray[np.float64]  # removed with their block
    kept: NDArray[np.float64]
    fixed: NDArray[np.float64]  # those that could not go, whatever their score
    threshold: float | None


def channels_chart(bars: Sequence[LayerBar]) -> Figure:
    """Channels per convolution: what goes in pale, what stays in front of it."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(11, 3.4)
        places = range(len(bars))
        whole = axes.bar(places, [b.before for b in bars], 0.82, color=PALE, label="removed")
        gone = [bar.before if bar.removed else 0 for bar in bars]
        if any(gone):
            axes.bar(places, gone, 0.82, color=PINK, label="removed with its block")
        axes.bar(places, [b.after for b in bars], 0.82, color=BLUE, label="kept")
        for patch, bar in zip(whole, bars, strict=True):
            patch.set_gid(f"layer-{bar.index}")
        step = math.ceil(len(bars) / 40)
        axes.set_xticks(list(places)[::step], [str(b.index) for b in bars][::step])
        if len(bars) > 24:
            axes.tick_params(axis="x", labelsize=7.5)
        axes.set_xlim(-0.8, len(bars) - 0.2)
        axes.set_xlabel("layer of the cfg (convolutions only)")
        axes.set_ylabel("channels")
        _legend_above(axes)
        return figure


def scores_chart(groups: ScoreGroups) -> Figure:
    """Histogram of the channels' scores, stacked by what happens to them, with the threshold."""
    kinds = (
        (groups.removed, PALE, "removed"),
        (groups.with_block, PINK, "removed with their block"),
        (groups.kept, BLUE, "kept"),
        (groups.fixed, "#90cdf4", "cannot go"),
    )
    everything = np.concatenate([scores for scores, _, _ in kinds])
    top = float(everything.max(initial=0)) or 1.0
    low = float(np.quantile(everything, 0.05)) if len(everything) else 0.0
    logarithmic = top > _LOG_SPAN * low
    if logarithmic:
        least = max(float(everything.min(initial=top)), _LEAST_SCORE * top)
        edges = np.geomspace(least, top * 1.0001, _BINS + 1)
    else:
        edges = np.linspace(0, top * 1.0001, _BINS + 1)
    shown = [(np.clip(s, edges[0], None), colour, label) for s, colour, label in kinds if len(s)]
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(11, 3.0)
        axes.hist(
            [scores for scores, _, _ in shown],
            bins=edges.tolist(),
            stacked=True,
            color=[colour for _, colour, _ in shown],
            label=[f"{label} ({len(s):,})" for s, _, label in shown],
        )
        if logarithmic:
            axes.set_xscale("log")
        if groups.threshold is not None and np.isfinite(groups.threshold):
            place = max(groups.threshold, float(edges[0]))
            label = f"threshold {groups.threshold:.4g}"
            axes.axvline(place, color=RED, linewidth=1.4, label=label)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(groups.name)
        axes.set_ylabel("channels")
        _legend_above(axes)
        return figure


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
    _legend_above(axes)


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
    _legend_above(axes)


def _unit_label(sweep: Sweep) -> str:
    if sweep.unit == "ratio":
        return "ratio of channels to remove"
    return "shortcuts removed, with their branches"


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches with one plot."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _legend_above(axes: Axes) -> None:
    tight = {"borderaxespad": 0.2, "handlelength": 1.5, "columnspacing": 1.4}
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, **tight)


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure, 150 pixels an inch, on white."""
    figure.savefig(path, format="png", dpi=150, facecolor="white")


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
