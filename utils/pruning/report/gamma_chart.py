"""Pictures of the gammas of one or several checkpoints, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...pictures.charts import BLUE, INK, RED, STYLE
from ..importance.sparseness import QUANTILES, Sparseness

_BINS = 70
_LEAST = 1e-5  # smaller |gamma| stand in the first bin
_HIGHEST = 10.0
_INCHES = (5.2, 6.0)  # of one checkpoint's column


def gamma_chart(columns: Sequence[tuple[str, Sparseness]]) -> Figure:
    """One column per checkpoint (its name, its sparseness), on common axes.

    Above: histogram of |gamma| over all channels that may go. Below: each of them, layer by layer.
    """
    with matplotlib.rc_context(STYLE):
        return _gamma_chart(columns)


def _gamma_chart(columns: Sequence[tuple[str, Sparseness]]) -> Figure:
    width = max(7.0, _INCHES[0] * len(columns))
    figure = Figure(figsize=(width, _INCHES[1]), layout="constrained", facecolor="white")
    panels = figure.subplots(2, len(columns), squeeze=False, sharey="row")
    for place, (name, found) in enumerate(columns):
        _histogram(panels[0][place], found)
        panels[0][place].set_title(
            f"{name}\nscore {found.score:.2f}, {found.free:.0%} next to free, "
            f"median {found.median:.3g}",
            loc="left",
            fontsize=9.5,
            color=INK,
        )
        _layers(panels[1][place], found)
    panels[0][0].set_ylabel("channels")
    panels[1][0].set_ylabel("|gamma|")
    return figure


def _histogram(axes: Axes, found: Sparseness) -> None:
    gammas = np.concatenate([np.empty(0), *found.gammas.values()])
    edges = np.geomspace(_LEAST, _HIGHEST, _BINS + 1)
    axes.hist(np.clip(gammas, edges[0], edges[-1]), bins=edges.tolist(), color=BLUE)
    if found.free > 0:
        # Where a ratio of the free share would cut.
        cut = max(float(np.quantile(gammas, found.free)), _LEAST)
        axes.axvline(cut, color=RED, linewidth=1.3, label=f"ratio {found.free:.2f}: {cut:.3g}")
        axes.legend(loc="upper left", fontsize=8.5)
    axes.set_xscale("log")
    axes.set_xlabel(f"|gamma| (below {_LEAST:g}: first bar)")


def _layers(axes: Axes, found: Sparseness) -> None:
    """Each channel as a faint mark, and the median, per layer: sparse ones stand at two ends."""
    places = np.arange(len(found.layers))
    for place, layer in enumerate(found.layers):
        marks = np.clip(found.gammas[layer.index], _LEAST, None)
        axes.scatter(np.full(len(marks), place), marks, 14, color=BLUE, alpha=0.15, marker="_")
    if len(places):
        middle = np.clip(
            [layer.quantiles[QUANTILES.index(0.5)] for layer in found.layers], _LEAST, None
        )
        axes.plot(places, middle, "o", color=RED, markersize=3, label="median")
        axes.legend(loc="lower left", fontsize=8.5)
    step = max(1, len(places) // 20)
    axes.set_xticks(places[::step], [str(layer.index) for layer in found.layers[::step]])
    axes.tick_params(axis="x", labelsize=7.5)
    axes.set_yscale("log")
    axes.set_ylim(_LEAST / 2, _HIGHEST)
    axes.set_xlabel("layer of the cfg")
