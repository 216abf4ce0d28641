"""The engine behind every pruning script: the command line and the order of the steps.

parse -> channel graph -> importance -> plan -> fold and cut -> gate -> evaluate -> table -> write.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...cfg import Cfg, load_cfg, parse_cfg, plain_text, save_cfg
from ...cfg.strict import strict_cfg
from ...command.allocator import keep_freed_memory
from ...command.cli import img_size, run_main
from ...command.errors import UserError
from ...command.files import atomic_write
from ...command.folders import require_free
from ...detection.before_after import compare_detections
from ...detection.figures import Model, ModelFigures, comparison_table, figures, worth_timing
from ...detection.training_images import require_training_images
from ...network.bn_epsilon import for_epsilon
from ...network.channel_links import plan_path, write_links
from ...network.layers import build_layers
from ...network.weights import State, require_usable, save_checked_weights
from ..gate import Proof, prove
from ..goals.budget import LatencyBudget
from ..goals.latency_goal import LatencyCheck, measure_goal
from ..plan import PrunePlan
from ..report.record import Case, command_line
from ..report.tables import layer_table
from ..strategy import Strategy
from ..surgery import links_of, prune
from ..sweeps.curve import Sweep
from ..sweeps.run import require_choice, show_sweep, sweep_folder, try_values, write_sweep
from .decide import Chooser, decide, make_chooser, tell_sparseness
from .flags import parse_args
from .recalibrate import Recalibration, recalibrate, recalibrated

Build = Callable[..., Any]


@dataclass(frozen=True)
class Pruned:
    """The result: what was found, and where it was written."""

    cfg: Cfg
    state: State
    plan: PrunePlan
    proof: Proof
    before: ModelFigures
    after: ModelFigures
    cfg_path: Path
    weights_path: Path
    recalibration: Recalibration | None = None
    latency: LatencyCheck | None = None


@dataclass(frozen=True)
class _Original:
    """The model to prune, and how to build one like it."""

    build: Build
    model: Model
    state: State
    args: argparse.Namespace

    def cut(self, plan: PrunePlan, source: str) -> tuple[Cfg, State, Model]:
        """The pruned cfg (to be called `source`), its state, and its model."""
        cut_cfg, cut_state = prune(self.model.cfg, self.state, plan)
        if self.args.strict_darknet:
            cut_cfg = strict_cfg(cut_cfg)
        cfg = parse_cfg(plain_text(cut_cfg), source)
        size = img_size(self.args.img_size)
        compact: Model = self.build(cfg, img_size=size, weights=cut_state)
        return cfg, cut_state, compact

    def score(self, plan: PrunePlan) -> ModelFigures:
        """What a plan leaves, costs and is worth; with `--recalibrate`, after that."""
        compact = self.cut(plan, "the pruned cfg")[2]
        if self.args.recalibrate:
            compact, _ = recalibrated(compact, self.args)
        return figures(compact, self.args)


def run(strategy: Strategy, build: Build, doc: str | None) -> None:
    """Main of a pruning script; `build` is `models.Darknet`."""
    run_main(lambda argv: run_pruning(strategy, build, doc, argv))


def run_pruning(
    strategy: Strategy, build: Build, doc: str | None, argv: Sequence[str] | None = None
) -> Pruned | Sweep:
    """Prune, prove, score, write; or measure several values, and prune by the best if asked to.

    Raises UserError, and GateError if the proof fails.
    """
    args = parse_args(strategy, doc, argv)
    keep_freed_memory()
    _require_free_places(strategy, args)
    require_training_images(args)
    original = _load(build, args)
    chooser = make_chooser(strategy, original.model, original.state, args)
    tell_sparseness(chooser, original.state, None if args.budget or args.sweep else args.ratio)
    if args.sweep is None:
        return _prune(original, chooser, args, argv)
    before = figures(original.model, args) if args.data else None
    sweep = try_values(args.sweep, chooser, args.ratio, before, original.score)
    show_sweep(sweep)
    if not args.dry_run:
        write_sweep(sweep, sweep_folder(args))
    if args.sweep.max_map_drop is None:
        return sweep
    found = argparse.Namespace(**{**vars(args), args.sweep.unit: require_choice(sweep)})
    chooser = replace(chooser, shortcuts=found.shortcuts)
    return _prune(original, chooser, found, argv, before, sweep)


def _load(build: Build, args: argparse.Namespace) -> _Original:
    """The model with its weights. Raises UserError for numbers that no network can have."""
    size = img_size(args.img_size)
    model: Model = build(load_cfg(args.cfg), img_size=size, weights=args.weights)
    state = {key: tensor.detach().cpu() for key, tensor in model.state_dict().items()}
    require_usable(state, args.weights)
    return _Original(build, model, state, args)


def _prune(
    original: _Original,
    chooser: Chooser,
    args: argparse.Namespace,
    argv: Sequence[str] | None,
    before: ModelFigures | None = None,
    sweep: Sweep | None = None,
) -> Pruned:
    """Prune as the flags say; `before` and `sweep` are what is known already."""
    outputs = _output_paths(chooser.strategy, args)
    goal = None
    if isinstance(args.budget, LatencyBudget):
        model, state = original.model, original.state
        goal = measure_goal(original.build, chooser.graph, model, state, args)
    plan = decide(chooser, args, goal)
    cfg, cut_state, compact = original.cut(plan, str(outputs[0]))
    proof = prove(original.state, plan, cfg, cut_state)
    print(layer_table(plan))
    print(_proof_line(proof))
    latency = None if goal is None else goal.check(plan, cfg, cut_state)
    if latency:
        print(latency)
    timed = worth_timing(original.model, args)
    before = before or figures(original.model, args, timed)
    after = figures(compact, args, timed)
    recalibration = None
    if args.recalibrate:
        recalibration, compact = recalibrate(compact, args, after)
        cut_state, after = compact.state_dict(), recalibration.after
        print(recalibration)
    print(comparison_table(before, after))
    if args.dry_run:
        print("dry run: nothing was written")
    else:
        written = for_epsilon(cut_state, build_layers(cfg), args.bn_epsilon)
        _write(cfg, written, original.model.seen, outputs, plan)
    if args.report and not args.dry_run:
        given = (args, command_line(argv), chooser, plan, proof, before, after, outputs)
        _report(Case(*given, sweep, recalibration, latency), original.model, compact)
    return Pruned(cfg, cut_state, plan, proof, before, after, *outputs, recalibration, latency)


def _report(case: Case, model: Model, compact: Model) -> None:
    """Write the folder of `--report`."""
    from ..report.page import write_report  # matplotlib takes a second to load

    shown = compare_detections(model, compact, case.args) if case.args.data else []
    print(f"Wrote {write_report(case.args.report, case, shown, case.args.force)}")


def _require_free_places(strategy: Strategy, args: argparse.Namespace) -> None:
    """Raise UserError now, not after the work, where something stands in the way of an output."""
    if args.dry_run:
        return
    if args.report:
        require_free(args.report, "--report", args.force)
    if args.sweep is None:
        _output_paths(strategy, args)
    else:
        sweep_folder(args)


def _proof_line(proof: Proof) -> str:
    return (
        f"Gate passed: all {proof.layers} layers equal the masked network's to "
        f"{max(proof.masked, proof.folded):.0e} of their maximum (float64); zero padding shifts "
        f"the heads by up to {proof.border:.1e} of theirs at the image border"
    )


def _output_paths(strategy: Strategy, args: argparse.Namespace) -> tuple[Path, Path]:
    """Beside the inputs, under the known names. Raises UserError if something stands there."""
    cfg, weights = Path(args.cfg), Path(args.weights)
    names = cfg.name, f"{weights.stem}.weights"
    new_cfg, new_weights = (
        path.with_name(
            strategy.file_name(name, args.budget or args.ratio, args.layer_keep, args.shortcuts)
        )
        for path, name in zip((cfg, weights), names, strict=True)
    )
    for path in (new_cfg, new_weights, plan_path(new_cfg)):
        if path.exists() and not (args.force or args.dry_run):
            raise UserError(f"{path}: exists already; --force overwrites it")
    return new_cfg, new_weights


def _write(cfg: Cfg, state: State, seen: int, outputs: tuple[Path, Path], plan: PrunePlan) -> None:
    """Write all files, or none; what was written is read back and compared."""
    cfg_path, weights_path = outputs
    with atomic_write(weights_path) as new_weights, atomic_write(cfg_path) as new_cfg:
        save_cfg(cfg, new_cfg)
        layers = build_layers(load_cfg(new_cfg))
        save_checked_weights(new_weights, layers, state, seen)
        write_links(plan_path(cfg_path), plan.graph.layers[0].section.source, links_of(plan))
    print(f"Wrote {cfg_path}\nWrote {weights_path}\nWrote {plan_path(cfg_path)}")
