"""A prune from end to end: the order of the steps, and what is written at the end.

channel graph -> importance -> plan -> fold and cut -> gate -> evaluate -> table -> write.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...cfg import Cfg, parse_cfg, plain_text
from ...cfg.strict import strict_cfg
from ...command.errors import UserError
from ...command.folders import require_free
from ...command.machine.allocator import keep_freed_memory
from ...command.machine.timing import Latency
from ...command.words.short_names import run_name
from ...data.darknet_files import load_data_file
from ...detection.figures import ModelFigures, comparison_table, figures, latencies
from ...network.batch_norm.epsilon import for_epsilon
from ...network.cfg_of import read_cfg
from ...network.darknet import Build, Network
from ...network.layers import build_layers
from ...network.two_sets import two_sets_line
from ...network.weights import State, require_usable
from ..choice.chooser import Chooser, decide, make_chooser, tell_sparseness
from ..choice.tables import kept_table
from ..goals.latency_goal import LatencyGoal, known_goal, measure_goal
from ..options import PruneOptions, Unit
from ..plan import PrunePlan
from ..proof.gate import Proof, prove
from ..recalibrate import recalibrate, recalibrated
from ..repair import repair, repaired
from ..report.result import Pruned
from ..surgery import prune
from ..sweeps.curve import Sweep
from ..sweeps.run import require_choice, show_sweep, sweep_folder, try_values, write_sweep
from .outputs import after_pruning, in_short, output_paths, reserved, write_outputs


@dataclass(frozen=True)
class _Original:
    """The network to prune, and how to build one like it."""

    build: Build
    network: Network
    state: State
    options: PruneOptions

    def cut(self, plan: PrunePlan, source: str) -> tuple[Cfg, State, Network]:
        """The pruned cfg (to be called `source`), its state, and its network."""
        cut_cfg, cut_state = prune(self.network.cfg, self.state, plan)
        if self.options.strict_darknet:
            cut_cfg = strict_cfg(cut_cfg)
        cfg = parse_cfg(plain_text(cut_cfg), source)
        size, runs = self.options.inputs.img_size, bool(self.options.scoring.data)
        return cfg, cut_state, self.build(cfg, size, weights=cut_state, lent=not runs)

    def score(self, plan: PrunePlan, after: PruneOptions | None = None) -> ModelFigures:
        """What a plan leaves, costs and is worth, after what `after` (None: options) has done."""
        compact, options = self.cut(plan, "the pruned cfg")[2], after or self.options
        if options.repair:
            compact, *_ = repaired(self.network, compact, plan, options.scoring, options.repair)
        if options.recalibrate:
            compact, _ = recalibrated(compact, options.scoring, options.recalibrate)
        return figures(compact, options.scoring)


def run_pruning(options: PruneOptions, build: Build) -> Pruned | Sweep:
    """Prune, or measure several values; then prune by the best of them if that is asked for.

    Raises UserError, and GateError if the proof fails.
    """
    if options.sweep is not None and options.sweep.max_map_drop is None:
        return sweep_network(options, build)
    return prune_network(options, build)


def prune_network(options: PruneOptions, build: Build) -> Pruned:
    """Prune, prove, score, and write unless it is a dry run; prints what it finds.

    `build` is `models.Darknet`. Raises UserError, and GateError if the proof fails.
    """
    if options.sweep is not None and options.sweep.max_map_drop is None:
        raise UserError(
            f"several {options.sweep.unit} values: `sweep_network` measures them; to prune by the "
            "best of them, name its max_map_drop"
        )
    with reserved(options):
        return _pruned(options, build)


def _pruned(options: PruneOptions, build: Build) -> Pruned:
    """As `prune_network`, with the outputs kept for it."""
    original, chooser = _opened(options, build)
    if options.sweep is None:
        return _prune(original, chooser, options)
    sweep, before = _swept(original, chooser, options)
    settled = _settled(options, options.sweep.unit, require_choice(sweep))
    chooser = replace(chooser, shortcuts=settled.chosen_shortcuts)
    return _prune(original, chooser, settled, before, sweep)


def score_cuts(ways: Sequence[PruneOptions], build: Build) -> list[ModelFigures]:
    """What a prune would leave, costs and is worth: no proof, no files, one evaluation of each.

    `ways` differ in what is done after the cut, and in nothing else. For choosing among many;
    whatever is chosen is to be pruned by `prune_network`. Raises UserError as that does.
    """
    original, plan = _planned(ways[0], build)
    return [original.score(plan, way) for way in ways]


def cut_alone(options: PruneOptions, build: Build) -> tuple[Cfg, State]:
    """What a prune would leave, neither scored nor proved: for measuring how fast it is.

    Raises UserError as `prune_network` does.
    """
    original, plan = _planned(options, build)
    return original.cut(plan, "the pruned cfg")[:2]


def _planned(options: PruneOptions, build: Build) -> tuple[_Original, PrunePlan]:
    """The network, and the plan that the options lead to."""
    original, chooser = _opened(options, build)
    goal = _goal(original, chooser, options)
    if goal is not None:
        chooser = chooser.timed(goal.table)
    aim = goal if options.latency_budget else None
    return original, decide(chooser, options.chosen_ratio, options.share_budgets, aim)


def _settled(options: PruneOptions, unit: Unit, choice: float) -> PruneOptions:
    """The options with the value that a sweep chose in its place."""
    typed = options.typed
    if typed.flags:
        typed = replace(typed, flags={**typed.flags, unit: choice})
    return replace(
        options,
        ratio=choice if unit == "ratio" else options.ratio,
        shortcuts=int(choice) if unit == "shortcuts" else options.shortcuts,
        sweep=None,
        outputs=replace(options.outputs, sweep=""),
        typed=typed,
    )


def sweep_network(options: PruneOptions, build: Build) -> Sweep:
    """Measure the values of `options.sweep`; writes a table and a picture unless it is a dry run.

    Raises UserError, also for options without a sweep.
    """
    if options.sweep is None:
        raise UserError("a sweep needs several values")
    original, chooser = _opened(options, build)
    return _swept(original, chooser, options)[0]


def _opened(options: PruneOptions, build: Build) -> tuple[_Original, Chooser]:
    """The network with its weights, and all that a plan depends on but the ratio."""
    if options.scoring.data:  # forward passes follow; else what was freed would only add up
        keep_freed_memory()
    _require_free_places(options)
    if options.ranking.needs_images or options.recalibrate or options.repair:
        load_data_file(options.scoring.data).require("train")
    inputs = options.inputs
    network = build(read_cfg(inputs.cfg), inputs.img_size, weights=inputs.weights)
    state = {key: tensor.detach().cpu() for key, tensor in network.state_dict().items()}
    require_usable(state, inputs.weights)
    original = _Original(build, network, state, options)
    chooser = make_chooser(options, network, state)
    one = not (options.budgets or options.sweep or options.widths)
    tell_sparseness(chooser, state, options.chosen_ratio if one else None)
    return original, chooser


def _swept(
    original: _Original, chooser: Chooser, options: PruneOptions
) -> tuple[Sweep, ModelFigures | None]:
    """The sweep, shown and written, and the figures of the network as it is."""
    assert options.sweep is not None
    before = figures(original.network, options.scoring) if options.scoring.data else None
    ratio = options.chosen_ratio
    sweep = try_values(options.sweep, chooser, ratio, before, original.score)
    show_sweep(sweep)
    if not options.outputs.dry_run:
        write_sweep(sweep, sweep_folder(options.outputs.sweep, _name(options)))
    return sweep, before


def _prune(
    original: _Original,
    chooser: Chooser,
    options: PruneOptions,
    before: ModelFigures | None = None,
    sweep: Sweep | None = None,
) -> Pruned:
    """Prune as the options say; `before` and `sweep` are what is known already."""
    paths = output_paths(options)
    goal = _goal(original, chooser, options)
    if goal is not None:
        chooser = chooser.timed(goal.table)
    aim = goal if options.latency_budget else None
    plan = decide(chooser, options.chosen_ratio, options.share_budgets, aim)
    cfg, cut_state, compact = original.cut(plan, str(paths[0]))
    proof = prove(original.state, plan, cfg, cut_state)
    print(kept_table(plan))
    print(_proof_line(proof))
    latency = None if aim is None else aim.check(plan, cfg, cut_state)
    if latency:
        print(latency)
    how = options.scoring
    times: list[Latency | None] = [None, None]
    if how.data:  # nobody asked for a forward pass otherwise
        times = [*latencies([original.network, compact], how)]
    before = figures(original.network, how, False, times[0]) if before is None else before
    before = replace(before, latency=times[0])
    after = figures(compact, how, False, times[1])
    recalibration = None
    if options.repair:
        found, compact = repair(original.network, compact, plan, how, options.repair, after)
        cut_state, after = compact.state_dict(), found.after
        print(found)
    if options.recalibrate:
        recalibration, compact = recalibrate(compact, how, options.recalibrate, after)
        cut_state, after = compact.state_dict(), recalibration.after
        print(recalibration)
    print(comparison_table(before, after))
    print(in_short(options, before, after))
    if two_sets := two_sets_line(compact.rules):
        print(two_sets)
    figured = (proof, before, after)
    pruned = Pruned(cfg, cut_state, plan, *figured, *paths, chooser, sweep, recalibration, latency)
    if options.outputs.dry_run:
        print("dry run: nothing was written")
        return pruned
    written = for_epsilon(cut_state, build_layers(cfg), options.bn_epsilon)
    write_outputs(cfg, written, original.network.seen, paths, plan)
    if options.outputs.report:
        _report(pruned, options, original.network, compact)
    print(after_pruning(options, paths))
    return pruned


def _goal(original: _Original, chooser: Chooser, options: PruneOptions) -> LatencyGoal | None:
    """The latency to meet, with its table measured; None where nobody asks for times."""
    budget = options.latency_budget
    if budget is None and options.ranking.per != "latency":
        return None
    ms = budget.ms if budget else math.inf
    if options.latency_table:
        return known_goal(options.latency_table, chooser.graph, original.network, ms)
    return measure_goal(
        original.build,
        chooser.graph,
        original.network,
        original.state,
        ms,
        options.runtime,
        options.scoring.device,
    )


def _report(pruned: Pruned, options: PruneOptions, network: Network, compact: Network) -> None:
    """Write the folder of `--report`."""
    # matplotlib takes a second to load
    from ...detection.before_after import compare_detections, usual_or
    from ..report.page import write_report

    how, outputs = options.scoring, options.outputs
    conf = usual_or(pruned.before.best_conf)
    shown = compare_detections(network, compact, how, conf) if how.data else []
    print(f"Wrote {write_report(outputs.report, pruned, options, shown, outputs.force)}")


def _require_free_places(options: PruneOptions) -> None:
    """Raise UserError now, not after the work, where something stands in the way of an output."""
    outputs = options.outputs
    if outputs.dry_run:
        return
    if outputs.report:
        require_free(outputs.report, "--report", outputs.force)
    if options.sweep is None:
        output_paths(options)
    else:
        sweep_folder(outputs.sweep, _name(options))


def _name(options: PruneOptions) -> str:
    """What a sweep's folder is called after."""
    inputs = options.inputs
    return options.outputs.name or run_name(inputs.weights or inputs.cfg)


def _proof_line(proof: Proof) -> str:
    return (
        f"Gate passed: all {proof.layers} layers equal the masked network's to "
        f"{max(proof.masked, proof.folded):.0e} of their maximum (float64).\n"
        "What removed channels handed on is in the biases now: exact but for the image's border, "
        "which kernels see\n"
        f"padded with zeros. There the heads move by up to {proof.border:.0%} of their maximum; "
        "finetuning makes up for it"
    )
