"""Pictures of a prune, as matplotlib figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from ...pictures.charts import BLUE, PALE, PINK, RED, STYLE, legend_above, one_plot, shown_names

_BINS = 60
_NUMBERED = 40  # bars: more are too narrow for a number
HELD = "#d69e2e"
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
    held: NDArray[np.float64]  # kept below the threshold: tied to better ones, or a floor's
    fixed: NDArray[np.float64]  # those that could not go, whatever their score
    threshold: float | None


@dataclass(frozen=True)
class Stage:
    """A model of a line: its name, what it costs and what it is worth."""

    name: str
    parameters: int
    map50: float


def stages_chart(stages: Sequence[Stage]) -> Figure:
    """mAP@.5 over parameters, from stage to stage."""
    with matplotlib.rc_context(STYLE):
        figure, axes = one_plot(11, 3.2)
        sizes = [stage.parameters / 1e6 for stage in stages]
        scores = [stage.map50 for stage in stages]
        axes.plot(sizes, scores, "-", color=PALE, linewidth=2)
        axes.plot(sizes, scores, "o", color=BLUE, markersize=7)
        for number, stage in enumerate(stages, 1):
            axes.annotate(
                f"{number} {shown_names([stage.name])[0]}",
                (stage.parameters / 1e6, stage.map50),
                textcoords="offset points",
                xytext=(6, 6 if number % 2 else -14),
            )
        axes.margins(x=0.15, y=0.2)
        axes.set_xlabel("parameters (M)")
        axes.set_ylabel("mAP@.5")
        return figure


def channels_chart(bars: Sequence[LayerBar]) -> Figure:
    """The share of its channels that each convolution keeps; what goes is pale above it."""
    with matplotlib.rc_context(STYLE):
        figure, axes = one_plot(11, 3.4)
        places = range(len(bars))
        whole = axes.bar(places, [1] * len(bars), 0.82, color=PALE, label="removed")
        gone = [int(bar.removed) for bar in bars]
        if any(gone):
            axes.bar(places, gone, 0.82, color=PINK, label="removed with its block")
        axes.bar(places, [b.after / b.before for b in bars], 0.82, color=BLUE, label="kept")
        if len(bars) <= _NUMBERED:
            for place, bar in enumerate(bars):
                axes.text(place, 0.02, str(bar.after), ha="center", color="white", fontsize=8)
        for patch, bar in zip(whole, bars, strict=True):
            patch.set_gid(f"layer-{bar.index}")
        step = math.ceil(len(bars) / 40)
        axes.set_xticks(list(places)[::step], [str(b.index) for b in bars][::step])
        if len(bars) > 24:
            axes.tick_params(axis="x", labelsize=7.5)
        axes.set_xlim(-0.8, len(bars) - 0.2)
        axes.set_xlabel("layer of the cfg (convolutions only)")
        axes.set_ylabel("share of its channels")
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        legend_above(axes)
        return figure


def scores_chart(groups: ScoreGroups) -> Figure:
    """Histogram of the channels' scores, stacked by what happens to them, with the threshold."""
    kinds = (
        (groups.removed, PALE, "removed"),
        (groups.with_block, PINK, "removed with their block"),
        (groups.held, HELD, "kept: tied or needed"),
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
        figure, axes = one_plot(11, 3.0)
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
        legend_above(axes)
        return figure
