"""What a prune leaves: where its files go, that they appear together, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from ...cfg import Cfg, load_cfg, save_cfg
from ...command.errors import UserError
from ...command.files import all_or_none, alone, settle
from ...command.words.next_step import Words, next_steps
from ...command.words.short_names import run_name
from ...detection.figures import ModelFigures
from ...network.channel_links import plan_path, write_links
from ...network.cost import short_count
from ...network.layers import build_layers
from ...network.weights import save_checked_weights
from ...training.run_folder import started_from
from ..options import PruneOptions
from ..plan import PrunePlan
from ..surgery import links_of


@contextmanager
def reserved(options: PruneOptions) -> Iterator[None]:
    """Keep other commands from the outputs, and finish what a killed one began to write there.

    Raises UserError where another is at work on them, or where nothing can be written.
    """
    if options.outputs.dry_run or options.sweep is not None:  # a sweep's outputs are not known yet
        yield
        return
    paths = _named_paths(options)
    with alone(*paths, *filter(None, [options.outputs.report])):
        settle(*paths)
        yield


def output_paths(options: PruneOptions) -> tuple[Path, Path]:
    """The cfg and the weights to write: PROJECT/NAME/NAME.*, or beside the inputs.

    There they are called by the flags. Raises UserError if something stands there, or for a name
    that is none.
    """
    cfg, weights, plan = _named_paths(options)
    for path in (cfg, weights, plan):
        if path.exists() and not (options.outputs.force or options.outputs.dry_run):
            raise UserError(f"{path}: exists already; --force overwrites it")
    return cfg, weights


def _named_paths(options: PruneOptions) -> tuple[Path, Path, Path]:
    """The cfg, the weights and the plan. Raises UserError for a name that is none."""
    name, project = options.outputs.name, Path(options.outputs.project)
    if name and Path(name).name != name:
        raise UserError(f"--name {name!r}: must be a plain name, it becomes a folder in {project}")
    stem = project / name / name
    paths = (Path(f"{stem}.cfg"), Path(f"{stem}.weights")) if name else _by_flags(options)
    return (*paths, plan_path(paths[0]))


def _by_flags(options: PruneOptions) -> tuple[Path, Path]:
    cfg, weights = options.inputs.cfg_file, Path(options.inputs.weights)
    budgets = "_".join(map(str, options.budgets))
    how_much = "widths" if options.widths else budgets or options.chosen_ratio

    def beside(path: Path, name: str) -> Path:
        shortcuts = options.chosen_shortcuts
        return path.with_name(options.strategy.file_name(name, how_much, options.floor, shortcuts))

    return beside(cfg, cfg.name), beside(weights, f"{weights.stem}.weights")


def write_outputs(
    cfg: Cfg, state: Mapping[str, Tensor], seen: int, paths: tuple[Path, Path], plan: PrunePlan
) -> None:
    """Write all files, or none; what was written is read back and compared. Raises UserError."""
    targets = (*paths, plan_path(paths[0]))
    with alone(*targets), all_or_none(*targets) as (new_cfg, new_weights, new_plan):
        save_cfg(cfg, new_cfg)
        layers = build_layers(load_cfg(new_cfg))
        save_checked_weights(new_weights, layers, state, seen)
        write_links(new_plan, plan.graph.layers[0].section.source, links_of(plan))
    print("\n".join(f"Wrote {path}" for path in targets))


def in_short(options: PruneOptions, before: ModelFigures, after: ModelFigures) -> str:
    """The line that a person looks for: what has gone, and what that costs."""
    name = options.outputs.name or run_name(options.inputs.weights)
    sizes = f"{short_count(before.parameters)} -> {short_count(after.parameters)} parameters"
    parts = [f"{name}: {sizes} ({after.parameters / before.parameters - 1:+.0%})"]
    if before.macs:
        parts.append(f"MACs {after.macs / before.macs - 1:+.0%}")
    if before.map50 is not None and after.map50 is not None:
        worth = f"mAP@.5 {before.map50:.3f} -> {after.map50:.3f}"
        parts.append(f"{worth} before any finetuning")
    return ", ".join(parts)


def after_pruning(options: PruneOptions, paths: tuple[Path, Path]) -> str:
    """The command that finetunes what was written, taught by the network before it was pulled."""
    inputs, (cfg, weights) = options.inputs, paths
    before = started_from(inputs.weights)
    what = "the network before sparse training" if before else "the network before the cut"
    structure: Words = [] if cfg.with_suffix(".weights") == weights else ["--cfg", cfg]
    teacher: Words = [] if inputs.cfg == inputs.weights else ["--t-cfg", inputs.cfg]
    if before.endswith(".pt"):  # its cfg is in it
        teacher = []
    size: Words = ["--img-size", *inputs.img_size] if inputs.img_size else []
    return next_steps({
        f"win back what it cost, taught by {what}": [
            "python", "train.py", *structure, "--weights", weights, "--data",
            options.scoring.data or "DATA", *size, *teacher,
            "--t-weights", before or inputs.weights,
            "--name", f"{options.outputs.name or weights.stem}-tuned",
        ]
    })  # fmt: skip
