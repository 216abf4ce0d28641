"""Several ratios in a row: what each would leave, where the curve bends, and which one will do.

Ratio 0 stands for the model as it is; it is the first point of every sweep.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...command.errors import UserError
from ...command.progress import progress_bar
from ...command.table import table

RATIO_STEPS = 200  # ratios are searched among the multiples of 1 / RATIO_STEPS

KNEE_RULE = (
    "the point farthest above the straight line between the first and the last one, "
    "both axes scaled to 0..1"
)
_KNEE_LEAST_FALL = 0.02  # mAP: what a small data set moves by on its own
_KNEE_LEAST_HEIGHT = 0.1  # a straighter curve has no knee


@dataclass(frozen=True)
class SweepPoint:
    """What pruning at one ratio (or number of shortcuts) leaves; None: not measured."""

    value: float
    parameters: int
    macs: int
    file_bytes: int
    latency_ms: float | None = None
    map50: float | None = None
    map: float | None = None


Measure = Callable[[float], SweepPoint]


@dataclass(frozen=True)
class Sweep:
    """Points in ascending order; `unit` is what their value counts: "ratio" or "shortcuts".

    chosen: the largest value that keeps within `max_map_drop`, where that was asked for.
    """

    unit: str
    points: tuple[SweepPoint, ...]
    max_map_drop: float | None = None
    chosen: float | None = None

    @property
    def knee(self) -> SweepPoint | None:
        """The point after which mAP@.5 falls steeply (see KNEE_RULE), if there is one."""
        scores = [point.map50 for point in self.points if point.map50 is not None]
        if len(scores) < len(self.points):
            return None
        index = find_knee([point.value for point in self.points], scores)
        return None if index is None else self.points[index]

    def verdict(self) -> str:
        """One sentence about the knee, and one about the chosen value."""
        said = []
        if self.points[0].map50 is not None:
            knee = self.knee
            where = "none in this range" if knee is None else f"{self.unit} {knee.value:g}"
            said.append(f"Knee of mAP@.5: {where} ({KNEE_RULE})")
        if self.chosen is not None:
            said.append(
                f"Chosen: {self.unit} {self.chosen:g}, the largest found to lose at most "
                f"{self.max_map_drop:g} mAP@.5 (searched in steps of {_resolution(self.unit):g})"
            )
        return "\n".join(said)

    def note(self, point: SweepPoint) -> str:
        """What a table says beside a point."""
        knee = self.knee
        notes = ["as it is"] if point.value == 0 else []
        notes += ["knee"] if knee is not None and point.value == knee.value else []
        notes += ["chosen"] if point.value == self.chosen else []
        return ", ".join(notes)


def find_knee(values: Sequence[float], scores: Sequence[float]) -> int | None:
    """Index of the knee of a falling curve, None if it has none; `values` ascend.

    The rule is Satopaa et al., "Finding a 'Kneedle' in a Haystack", ICDCSW 2011, without its
    smoothing: the largest height above the chord. A curve that falls by less than 0.02 in all has
    no knee, nor has one that stays within a tenth of its fall above the chord.
    """
    if len(values) < 3 or not np.isfinite(scores).all():
        return None
    fall = scores[0] - scores[-1]
    if fall < _KNEE_LEAST_FALL:
        return None
    x = (np.asarray(values) - values[0]) / (values[-1] - values[0])
    y = (np.asarray(scores) - scores[-1]) / fall
    height = y - (1 - x)
    best = int(np.argmax(height))
    return best if height[best] >= _KNEE_LEAST_HEIGHT else None


def run_sweep(unit: str, values: Sequence[float], measure: Measure) -> Sweep:
    """Measure the model as it is and at each value."""
    bar = progress_bar(sorted({0.0, *values}), "sweep", "value")
    return Sweep(unit, tuple(measure(value) for value in bar))


def search(sweep: Sweep, measure: Measure, max_map_drop: float, limit: float) -> Sweep:
    """The sweep with further points and its largest value that loses at most `max_map_drop` mAP@.5.

    Bisects between the largest point of the sweep that keeps within it and the next one; where no
    point fails, that is the largest point, and where there are none but the model itself, the
    search goes up to `limit`, without it. `chosen` stays None when even the smallest step loses
    more. Raises UserError when there is no mAP to lose.
    """
    before = sweep.points[0].map50
    if before is None or math.isnan(before):
        raise UserError("--max-map-drop: needs a mAP, of a data set that holds objects (--data)")
    if before <= max_map_drop:
        raise UserError(
            f"--max-map-drop {max_map_drop:g}: the model's mAP@.5 is {before:.4f} as it is: "
            "any ratio would do; train the model first"
        )
    points = {point.value: point for point in sweep.points}
    good = max(v for v, point in points.items() if _keeps(point, before, max_map_drop))
    above = [value for value in points if value > good]
    if above or len(points) == 1:
        between = _steps(sweep.unit, good, min(above) if above else limit)

        def passes(value: float) -> bool:
            points[value] = measure(value)
            return _keeps(points[value], before, max_map_drop)

        good = last_that(passes, between) or good
    ordered = tuple(points[value] for value in sorted(points))
    return Sweep(sweep.unit, ordered, max_map_drop, good or None)


def last_that(passes: Callable[[float], bool], ascending: Sequence[float]) -> float | None:
    """The last value that passes, by bisection: once one fails, all after it are taken to."""
    low, high = -1, len(ascending)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if passes(ascending[middle]) else (low, middle)
    return None if low < 0 else ascending[low]


def _keeps(point: SweepPoint, before: float, max_map_drop: float) -> bool:
    return point.map50 is not None and point.map50 >= before - max_map_drop


def _resolution(unit: str) -> float:
    return 1 / RATIO_STEPS if unit == "ratio" else 1


def _steps(unit: str, low: float, high: float) -> list[float]:
    """The values strictly between that a search may try."""
    if unit != "ratio":
        return list(range(int(low) + 1, math.ceil(high)))
    return [k / RATIO_STEPS for k in range(RATIO_STEPS + 1) if low < k / RATIO_STEPS < high]


def sweep_table(sweep: Sweep) -> str:
    """One row per point."""
    rows = sweep_rows(sweep)
    return table(rows, right=range(len(rows[0]) - 1))


def sweep_rows(sweep: Sweep) -> list[list[str]]:
    """Heads and cells of the table; columns that nobody measured are left out."""
    first = sweep.points[0]
    heads = [sweep.unit, "Parameters", "", "MACs", "", "File (KB)"]
    heads += ["Forward (ms)"] if first.latency_ms is not None else []
    heads += ["mAP@.5", "mAP@.5:.95"] if first.map50 is not None else []
    rows = [[*heads, ""]]
    for point in sweep.points:
        row = [f"{point.value:g}"]
        row += [f"{point.parameters:,}", f"{point.parameters / first.parameters:.1%}"]
        row += [f"{point.macs:,}", f"{point.macs / first.macs:.1%}"]
        row += [f"{point.file_bytes / 1e3:,.0f}"]
        row += [f"{point.latency_ms:.2f}"] if point.latency_ms is not None else []
        row += [f"{m:.4f}" for m in (point.map50, point.map) if m is not None]
        rows.append([*row, sweep.note(point)])
    return rows


def write_csv(sweep: Sweep, path: Path) -> None:
    """All figures, unrounded; an empty cell was not measured."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([sweep.unit, *_CSV_FIGURES, "note"])
        for point in sweep.points:
            figures = [getattr(point, name) for name in _CSV_FIGURES]
            value = f"{point.value:g}"
            cells = ["" if figure is None else figure for figure in figures]
            writer.writerow([value, *cells, sweep.note(point)])


_CSV_FIGURES = ("parameters", "macs", "file_bytes", "latency_ms", "map50", "map")
