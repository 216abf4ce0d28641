"""The picture of a comparison: mAP against latency and size, a line per runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .options import Clock
from .results import Measured, Row

_COLOURS = ("#2b6cb0", "#dd7a1f", "#2f855a", "#c53030", "#6b46c1", "#718096", "#b7791f")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_INK, _GRID = "#2d3748", "#e2e8f0"
_STEPS = (1, 2, 5)  # ticks of a scale by powers of ten

Cost = Callable[[Measured], float]


def save_comparison(path: Path, rows: Sequence[Row], clock: Clock = "cpu") -> bool:
    """Write the picture as PNG, 150 pixels an inch; False where there is nothing to draw."""
    figure = comparison_chart(rows, clock)
    if figure is not None:
        figure.savefig(path, format="png", dpi=150, facecolor="white")
    return figure is not None


def comparison_chart(rows: Sequence[Row], clock: Clock = "cpu") -> Figure | None:
    """Each model is a marker, each runtime a line; None where nothing has both a time and a mAP."""
    scored = [r for r in rows if isinstance(r.result, Measured) and r.result.map50 is not None]
    if not scored:
        return None
    figure = Figure(figsize=(12, 4.8), layout="constrained", facecolor="white")
    in_time, in_size = figure.subplots(1, 2, sharey=True)
    what = "median" if clock == "wall" else "processor time"
    _plot(in_time, scored, lambda found: found.median_ms if clock == "wall" else found.cpu_ms)
    in_time.set_xlabel(f"ms per image: forward pass, {what} (faster is further left)")
    in_time.set_ylabel("mAP@.5")
    _plot(in_size, scored, lambda found: found.file_bytes / 1e3)
    in_size.set_xlabel("KB of the file (smaller is further left)")
    _legends(figure, in_size, list(dict.fromkeys(row.candidate.name for row in scored)))
    return figure


def _plot(axes: Axes, scored: Sequence[Row], cost: Cost) -> None:
    """mAP against one cost, which has a scale by powers."""
    models = list(dict.fromkeys(row.candidate.name for row in scored))
    points = [
        (row.candidate.name, row.runtime, cost(row.result), row.result.map50 or 0.0)
        for row in scored
        if isinstance(row.result, Measured)
    ]
    for place, runtime in enumerate(dict.fromkeys(row.runtime for row in scored)):
        own = [(x, score, name) for name, r, x, score in points if r == runtime]
        colour = _COLOURS[place % len(_COLOURS)]
        axes.plot([p[0] for p in own], [p[1] for p in own], "-", color=colour, label=runtime,
                  linewidth=1.5)  # fmt: skip
        for x, score, name in own:
            marker = _MARKERS[models.index(name) % len(_MARKERS)]
            axes.plot(x, score, marker, color=colour, markersize=7)
    axes.set_xscale("log")
    low, high = (edge(p[2] for p in points) for edge in (min, max))
    axes.set_xlim(low / 1.3, high * 1.3)
    ticks = (step * 10.0**power for power in range(-3, 9) for step in _STEPS)
    axes.set_xticks([tick for tick in ticks if low / 1.3 <= tick <= high * 1.3])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.minorticks_off()
    axes.grid(color=_GRID)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _legends(figure: Figure, axes: Axes, models: Sequence[str]) -> None:
    """Runtimes by colour and models by shape, to the right of the plots."""
    colours, runtimes = axes.get_legend_handles_labels()
    none = Line2D([], [], linestyle="none")
    shapes = [
        Line2D([], [], linestyle="none", marker=_MARKERS[k % len(_MARKERS)], color=_INK)
        for k in range(len(models))
    ]
    figure.legend(
        [none, *colours, none, none, *shapes],
        ["runtime (colour)", *runtimes, "", "model (shape)", *models],
        loc="outside right upper", frameon=False,
    )  # fmt: skip
