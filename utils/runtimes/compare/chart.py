"""The picture of a comparison: mAP against latency, a line per runtime through its models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from .options import Clock
from .results import Measured, Row

_COLOURS = ("#2b6cb0", "#dd7a1f", "#2f855a", "#c53030", "#6b46c1", "#718096", "#b7791f")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_INK, _GRID = "#2d3748", "#e2e8f0"


def save_comparison(path: Path, rows: Sequence[Row], clock: Clock = "cpu") -> bool:
    """Write the picture as PNG, 150 pixels an inch; False where there is nothing to draw."""
    figure = comparison_chart(rows, clock)
    if figure is not None:
        figure.savefig(path, format="png", dpi=150, facecolor="white")
    return figure is not None


def comparison_chart(rows: Sequence[Row], clock: Clock = "cpu") -> Figure | None:
    """Each model is a marker, each runtime a line; None where nothing has both a time and a mAP."""
    points = [
        (row.candidate.name, row.runtime, _time_ms(row.result, clock), row.result.map50)
        for row in rows
        if isinstance(row.result, Measured) and row.result.map50 is not None
    ]
    if not points:
        return None
    models = list(dict.fromkeys(name for name, *_ in points))
    figure = Figure(figsize=(9, 4.8), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for place, runtime in enumerate(dict.fromkeys(runtime for _, runtime, *_ in points)):
        own = [(ms, score, name) for name, r, ms, score in points if r == runtime]
        colour = _COLOURS[place % len(_COLOURS)]
        axes.plot([p[0] for p in own], [p[1] for p in own], "-", color=colour, label=runtime,
                  linewidth=1.5)  # fmt: skip
        for ms, score, name in own:
            marker = _MARKERS[models.index(name) % len(_MARKERS)]
            axes.plot(ms, score, marker, color=colour, markersize=7)
    lines = axes.legend(title="runtime (colour)", loc="upper left", bbox_to_anchor=(1.01, 1),
                        frameon=False, alignment="left")  # fmt: skip
    shapes = [
        axes.plot([], [], _MARKERS[k % len(_MARKERS)], color=_INK)[0] for k in range(len(models))
    ]
    axes.legend(shapes, models, title="model (shape)", loc="lower left", bbox_to_anchor=(1.01, 0),
                frameon=False, alignment="left")  # fmt: skip
    axes.add_artist(lines)
    axes.set_xscale("log")
    ticks = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
    low, high = min(p[2] for p in points), max(p[2] for p in points)
    axes.set_xlim(low / 1.3, high * 1.3)
    axes.set_xticks([t for t in ticks if low / 1.3 <= t <= high * 1.3])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.grid(color=_GRID)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    what = "median" if clock == "wall" else "processor time"
    axes.set_xlabel(f"ms per image: forward pass, {what} (faster is further left)")
    axes.set_ylabel("mAP@.5")
    return figure


def _time_ms(found: Measured, clock: Clock) -> float:
    return found.median_ms if clock == "wall" else found.cpu_ms
