"""Runs a sweep for a pruning script: from the flags to points, a table and files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...command.errors import UserError
from ...command.folders import first_free, require_free, whole_folder
from ...detection.figures import ModelFigures
from ...network.cost import count_macs, count_parameters, file_bytes
from ...network.layers import Layer
from ..blocks import find_blocks
from ..choice.chooser import Chooser
from ..goals.budget import pruned_layers
from ..options import SweepWish
from ..plan import PrunePlan
from .curve import Sweep, SweepPoint, run_sweep, search, sweep_table, write_csv

CSV_NAME, PNG_NAME = "sweep.csv", "sweep.png"
Score = Callable[[PrunePlan], ModelFigures]


def sweep_folder(named: str, name: str) -> Path:
    """Where the files go: as `named`, or a new folder NAME below runs/sweep. Raises UserError."""
    if named:
        return require_free(named, "--output")
    return first_free(Path("runs") / "sweep" / name)


def try_values(
    wish: SweepWish, chooser: Chooser, ratio: float, before: ModelFigures | None, score: Score
) -> Sweep:
    """Measure every value of a wish, and search the chosen one if it asks for that.

    `before` and `score` give figures of the model as it is and under a plan; without `before` only
    the structure is measured. `ratio` holds where shortcuts are swept. Raises UserError.
    """

    def measure(value: float) -> SweepPoint:
        if value == 0:
            return _scored(value, before) if before else _structure(value, chooser.graph.layers)
        plan = plan_at(wish, chooser, ratio, value)
        if before is None:
            return _structure(value, pruned_layers(chooser.cfg, plan))
        return _scored(value, score(plan))

    sweep = run_sweep(wish.unit, wish.values, measure)
    if wish.max_map_drop is None:
        return sweep
    limit = 1.0 if wish.unit == "ratio" else len(find_blocks(chooser.graph)[0]) + 1
    return search(sweep, measure, wish.max_map_drop, limit)


def plan_at(wish: SweepWish, chooser: Chooser, ratio: float, value: float) -> PrunePlan:
    """The plan at a ratio, or with so many shortcuts gone."""
    if wish.unit == "ratio":
        return chooser.plan(value)
    return replace(chooser, shortcuts=int(value)).plan(ratio)


def write_sweep(sweep: Sweep, folder: Path) -> None:
    """Write sweep.csv and sweep.png into a new folder, both or neither. Raises UserError."""
    from ...pictures.charts import save_png
    from .chart import sweep_chart  # matplotlib takes a second to load

    with whole_folder(folder, "--output") as fresh:
        write_csv(sweep, fresh / CSV_NAME)
        save_png(sweep_chart(sweep), fresh / PNG_NAME)
    print(f"Wrote {folder / CSV_NAME}\nWrote {folder / PNG_NAME}")


def show_sweep(sweep: Sweep) -> None:
    """Print the table and what it tells."""
    print(sweep_table(sweep))
    if sweep.verdict():
        print(sweep.verdict())


def require_choice(sweep: Sweep) -> float:
    """The value that a search chose. Raises UserError when it found none."""
    if sweep.chosen is not None:
        return sweep.chosen
    start, least = sweep.points[0], sweep.points[min(1, len(sweep.points) - 1)]
    raise UserError(
        f"--max-map-drop {sweep.max_map_drop:g}: {sweep.unit} {least.value:g} already takes "
        f"mAP@.5 from {start.map50:.4f} to {least.map50:.4f}; nothing was pruned (train sparsely "
        "first, or allow more)"
    )


def _structure(value: float, layers: tuple[Layer, ...]) -> SweepPoint:
    return SweepPoint(value, count_parameters(layers), count_macs(layers), file_bytes(layers))


def _scored(value: float, figures: ModelFigures) -> SweepPoint:
    return SweepPoint(
        value,
        figures.parameters,
        figures.macs,
        figures.file_bytes,
        figures.latency and figures.latency.median_ms,
        figures.map50,
        figures.map,
    )
