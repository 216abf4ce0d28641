"""Iterative pruning: prune a little, finetune, score, and again.

The goal of step k is an absolute one: after it, `target * k / steps` of the original network is
gone. Each step prunes what is left by the ratio that leads there, so that what one step could not
take (channels go in groups) the next one makes up for, and the last one meets the target.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...command.csv_file import write_csv
from ...command.errors import UserError
from ...command.files import all_or_none, atomic_write
from ...command.table import table
from ...network.darknet import Build
from ...pruning.command.run import prune_network
from ...pruning.report.result import Pruned
from ..journal import Journal, Trainer, best_scores
from .options import IterativeOptions, Pace

Row = dict[str, float]
_COUNTS = {"channels": "channels", "params": "parameters", "macs": "macs"}


@dataclass(frozen=True)
class Tools:
    """What the scripts at the top give: the network and training."""

    build: Build
    trainer: Trainer


@dataclass(frozen=True)
class Step:
    """One step: its number from 1, the share of the original to be gone after it, its training."""

    number: int
    gone: float
    epochs: int
    flags: tuple[str, ...] = ()


def plan_steps(pace: Pace) -> list[Step]:
    """All steps of a pace; in one shot a single one with all their epochs."""
    last_epochs = pace.epochs_per_step if pace.last_epochs is None else pace.last_epochs
    last: list[str] = []
    if pace.last_batch_size is not None:
        last += ["--batch-size", str(pace.last_batch_size)]
    if pace.last_schedule is not None:
        last += ["--schedule", pace.last_schedule]
    if pace.one_shot:
        epochs = (pace.steps - 1) * pace.epochs_per_step + last_epochs
        return [Step(1, pace.target, epochs, tuple(last))]
    steps = [
        Step(number, pace.target * number / pace.steps, pace.epochs_per_step)
        for number in range(1, pace.steps)
    ]
    return [*steps, Step(pace.steps, pace.target, last_epochs, tuple(last))]


def share_to_keep(gone: float, left: float) -> float:
    """What may stay of a network of which `left` is left, for `gone` of the original to be gone."""
    return min(1.0, (1 - gone) / left)


def run_iterative(options: IterativeOptions, journal: Journal, tools: Tools) -> list[Row]:
    """All steps that are left; returns the rows of steps.csv. Raises UserError."""
    if "rows" not in journal.content:
        start = options.prune.inputs
        journal.note(rows=[], models=[{"cfg": start.cfg, "weights": start.weights}])
    for step in plan_steps(options.pace)[max(0, len(journal.content["rows"]) - 1) :]:
        if journal.content.get("stopped"):
            break
        _pruned(step, options, journal, tools)
        _recovered(step, options, journal, tools)
        report(journal)
    good = _good_rows(journal.content["rows"])
    _write_best(journal, journal.content["models"][good[-1]], tools)
    report(journal)
    print(steps_table(journal.content["rows"], good[-1]))
    return list(journal.content["rows"])


def _pruned(step: Step, options: IterativeOptions, journal: Journal, tools: Tools) -> None:
    """Prune for a step, unless that is done; the first one also gives row 0, the original."""
    if journal.content.get("pruned"):
        return
    rows: list[Row] = list(journal.content["rows"])
    source = journal.content["models"][-1]
    folder = journal.folder / f"step{step.number:02d}"
    folder.mkdir(exist_ok=True)
    cfg, weights = (folder / f"full{Path(source[kind]).suffix}" for kind in ("cfg", "weights"))
    for kind, path in (("cfg", cfg), ("weights", weights)):
        with atomic_write(path) as temporary:
            shutil.copyfile(source[kind], temporary)
    count = _COUNTS[options.measure]
    left = rows[-1][count] / rows[0][count] if rows else 1.0
    wish = options.prune_of_step(str(cfg), str(weights), share_to_keep(step.gone, left))
    found = prune_network(wish, tools.build)
    if not rows:
        rows.append(_row(0, 0.0, found, before=True))
    row = _row(step.number, step.gone, found)
    pruned = {"row": row, "cfg": str(found.cfg_path), "weights": str(found.weights_path)}
    journal.note(rows=rows, pruned=pruned)


def _row(number: int, gone: float, found: Pruned, before: bool = False) -> Row:
    """A line of steps.csv but for the finetuned model's scores."""
    figures = found.before if before else found.after
    plan = found.plan
    channels = sum(map(len, plan.graph.issued.values())) if before else plan.channels
    row: Row = {
        "step": number,
        "gone_goal": gone,
        "channels": channels,
        "parameters": figures.parameters,
        "macs": figures.macs,
        "map50_pruned": figures.map50 or 0.0,
        "map_pruned": figures.map or 0.0,
    }
    if before:
        row |= {"map50": row["map50_pruned"], "map": row["map_pruned"], "epochs": 0, "good": 1}
    return row


def _recovered(step: Step, options: IterativeOptions, journal: Journal, tools: Tools) -> None:
    """Finetune what a step left, score it, and end the step."""
    pruned = journal.content["pruned"]
    given = ["--cfg", pruned["cfg"], "--weights", pruned["weights"], "--epochs", str(step.epochs)]
    t_cfg, t_weights = options.teacher
    teacher = ["--t-cfg", t_cfg, "--t-weights", t_weights] if t_cfg else []
    flags = [*options.train_flags, *teacher, *given, *step.flags]
    run = journal.trained(f"step{step.number:02d}", flags, tools.trainer)
    map50, map_ = best_scores(run)
    rows: list[Row] = journal.content["rows"]
    limit = options.max_map_drop
    good = limit is None or rows[0]["map50"] - map50 <= limit
    row = {**pruned["row"], "map50": map50, "map": map_, "epochs": step.epochs, "good": int(good)}
    model = {"cfg": pruned["cfg"], "weights": str(run.best)}
    models = [*journal.content["models"], model]
    journal.note(rows=[*rows, row], models=models, pruned=None, stopped=not good)
    if not good:
        print(
            f"Step {step.number}: mAP@.5 is {rows[0]['map50'] - map50:.4f} below the start, more "
            f"than --max-map-drop {limit:g}: stopping; step {step.number - 1} is the last good one"
        )


def run_from_scratch(
    options: IterativeOptions, finished: Journal, journal: Journal, trainer: Trainer
) -> list[Row]:
    """Train the structure of a finished run's best network from random weights, for its epochs."""
    other = finished.content
    if not other.get("rows") or "best" not in other:
        raise UserError(f"--from-scratch {finished.folder}: that run is not done")
    best = _good_rows(other["rows"])[-1]
    epochs = int(sum(row["epochs"] for row in other["rows"][: best + 1]))
    if not epochs:
        raise UserError(f"--from-scratch {finished.folder}: its best model is the original")
    flags = [*options.train_flags, "--cfg", other["best"]["cfg"], "--epochs", str(epochs)]
    run = journal.trained("scratch", flags, trainer)
    map50, map_ = best_scores(run)
    kept = ("channels", "parameters", "macs")
    row = {"step": 0, **{name: other["rows"][best][name] for name in kept}}
    rows = [{**row, "map50": map50, "map": map_, "epochs": epochs, "good": 1}]
    journal.note(rows=rows, best={"cfg": other["best"]["cfg"], "weights": str(run.best)})
    write_csv(journal.folder / "steps.csv", rows)
    print(steps_table(rows, 0))
    return rows


def _good_rows(rows: Sequence[Row]) -> list[int]:
    """Positions of the rows within the limit; the last of them is the best model."""
    return [position for position, row in enumerate(rows) if row["good"]]


def _write_best(journal: Journal, model: dict[str, str], tools: Tools) -> None:
    """best.cfg and best.weights: the last good step's. Written once, when all steps are done."""
    if "best" in journal.content:
        return
    paths = [journal.folder / f"best{kind}" for kind in (".cfg", ".weights")]
    with all_or_none(*paths) as (new_cfg, new_weights):
        shutil.copyfile(model["cfg"], new_cfg)
        tools.build(new_cfg, weights=model["weights"]).save_weights(new_weights)
    journal.note(best={"cfg": str(paths[0]), "weights": str(paths[1])})


def report(journal: Journal) -> None:
    """steps.csv and steps.png of what is done."""
    from .chart import steps_chart  # matplotlib takes a second to load

    rows: list[Row] = journal.content["rows"]
    write_csv(journal.folder / "steps.csv", rows)
    with atomic_write(journal.folder / "steps.png") as temporary:
        steps_chart(rows, temporary)


def steps_table(rows: Sequence[Row], best: int) -> str:
    """One row per step; the best model is marked."""
    lines = [["step", "channels", "parameters", "MACs", "mAP@.5 pruned", "recovered", "epochs", ""]]
    for position, row in enumerate(rows):
        pruned = f"{row['map50_pruned']:.4f}" if "map50_pruned" in row else "-"
        lines.append(
            [f"{row['step']:.0f}", f"{row['channels']:,}", f"{row['parameters']:,}",
             f"{row['macs']:,}", pruned, f"{row['map50']:.4f}", f"{row['epochs']}",
             "best" if position == best else "" if row["good"] else "too low"]
        )  # fmt: skip
    return table(lines, right=range(7))
