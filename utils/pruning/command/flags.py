"""The command line of the pruning scripts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from ...cfg.strict import add_strict_darknet
from ...command.cli import (
    DATA_SET,
    Parser,
    add_device,
    add_img_size,
    add_workers,
    img_size,
    positive_int,
    ratio,
    seed,
)
from ...detection.as_the_cfg_says import add_fit, add_nms
from ...detection.inputs import add_inputs, inputs_of, require_inputs
from ...detection.options import Scoring
from ...network.options import add_bn_epsilon
from ...runtimes.targets.advice import add_target, rounded_for, wanted
from ...runtimes.targets.names import Target
from ..goals.table_file import read_table_file
from ..importance.options import IMPORTANCES, Among, Normalization, Ranking
from ..options import (
    RUNS,
    Form,
    LayerRules,
    Outputs,
    PruneOptions,
    Typed,
)
from ..sensitivity.flags import add_sensitivity, require_sensitivity, sensitivity_of
from ..strategy import Strategy
from ..sweeps.flags import add_sweep_output, sorted_amounts
from ..widths.file import read_widths
from .amount_flags import FIRST_AMOUNTS, add_amounts
from .flag_types import image_count, kind_and_cost


def read_flags(
    strategy: Strategy, doc: str | None, argv: Sequence[str] | None = None
) -> PruneOptions:
    """`prune_flags`, after a look at the files that they name. Raises UserError."""
    options = prune_flags(strategy, doc, argv)
    require_inputs(options.inputs.cfg, options.inputs.weights, options.scoring.data)
    require_sensitivity(options.sensitivity)
    if options.widths:
        read_widths(options.widths)
    target = cast("Target | None", options.typed.flags.get("target"))
    if target is not None:
        print(wanted(target, options.rules.round_to))
    if options.latency_table:
        read_table_file(options.latency_table)
    return options


def prune_flags(
    strategy: Strategy, doc: str | None, argv: Sequence[str] | None = None
) -> PruneOptions:
    """What the flags of a pruning script ask for; argv None: those of this process.

    Raises UserError for flags that do not go together.
    """
    args = _parser(strategy, doc).parse_args(argv)
    given = vars(args)
    kind, per = args.importance
    amounts = sorted_amounts(
        strategy, given.get("ratio"), given.get("shortcuts"), args.max_map_drop
    )
    options = PruneOptions(
        strategy,
        inputs_of(args.cfg, args.weights, img_size(args.img_size)),
        Scoring(
            args.data, args.fit, args.nms, args.batch_size, args.workers, args.device, args.seed
        ),
        amounts.ratio,
        tuple(given.get("budgets") or ()),
        amounts.sweep,
        amounts.shortcuts,
        given.get("layer_keep", 0.0),
        _rules(given),
        Ranking(kind, args.normalize, args.taylor_batches, per, given.get("ranking", "global")),
        given.get("runtime", "torch"),
        args.recalibrate,
        args.bn_epsilon,
        args.strict_darknet or given.get("target") == "darknet",
        Outputs(
            args.force,
            args.dry_run,
            args.report or "",
            args.output or "",
            args.name or "",
            args.project,
        ),
        repair=args.repair,
        at_most=given.get("at_most", False),
        sensitivity=sensitivity_of(given),
        widths=given.get("widths") or "",
        latency_table=given.get("latency_table") or "",
    )
    settled = {
        "ratio": options.chosen_ratio,
        "shortcuts": options.chosen_shortcuts,
        "layer_keep": options.floor,
        "budget": "_".join(map(str, options.budgets)) or None,
        "importance": f"{kind}:{per}" if per else kind,
        "sweep": options.sweep,
    }
    told = {name: value for name, value in given.items() if name != "budgets"}
    return replace(options, typed=Typed({**told, **settled}, _command_line(argv)))


def _rules(given: Mapping[str, Any]) -> LayerRules:
    """What the limits say; a script that removes blocks alone has no flags for them."""
    if "round_to" not in given:
        return LayerRules()
    return LayerRules(
        rounded_for(given["target"], given["round_to"]),
        given["max_ratio"],
        tuple(given["exclude"]),
        tuple(given["only"]),
        given["compat"],
        given.get("form") or "",
    )


def _command_line(argv: Sequence[str] | None) -> tuple[str, ...]:
    """The command as a user would type it; `argv` None: that of this process."""
    given = sys.argv[1:] if argv is None else argv
    return ("python", Path(sys.argv[0]).name, *given)


def _parser(strategy: Strategy, doc: str | None) -> Parser:
    channels = strategy.channels is not None
    ratio_flag = [strategy.ratio_flag] if channels else []
    first = [
        "--weights",
        "--data",
        "--name",
        *ratio_flag,
        *FIRST_AMOUNTS[channels, strategy.blocks],
    ]
    parser = Parser(doc, first=[*first, "--max-map-drop", "--dry-run", "--report", "--force"])
    _add_files(parser.add_argument_group("what is pruned"))
    add_amounts(parser.add_argument_group("how much goes"), strategy)
    if channels:
        _add_limits(limits := parser.add_argument_group("what may go"), strategy)
        if not strategy.blocks:
            _add_form(limits)
    _add_importance(parser.add_argument_group("what goes first"), channels)
    _add_outputs(parser.add_argument_group("what is written"))
    _add_scoring(parser.add_argument_group("how it is scored"))
    if channels:
        parser.add_argument_group("for comparisons with other programs").add_argument(
            "--compat",
            action="store_true",
            help="prune only what the known suite can prune, to compare with its results",
        )
    return parser


def _add_files(group: argparse._ActionsContainer) -> None:
    add_inputs(group)
    group.add_argument(
        "--data",
        default="",
        help=f"to score before and after on: {DATA_SET}; left out, nothing is scored",
    )


def _add_limits(group: argparse._ActionsContainer, strategy: Strategy) -> None:
    add = group.add_argument
    add(
        "--round-to",
        type=positive_int,
        default=1,
        metavar="N",
        help="keep multiples of N channels, rounding up: 8 suits most runtimes",
    )
    add_target(group)
    if strategy.has_floor:
        add(
            "--layer-keep",
            type=ratio,
            default=0.01,
            help="share of its channels that each convolution keeps at least",
        )
    add(
        "--max-ratio",
        type=ratio,
        default=1.0,
        metavar="RATIO",
        help="share of its channels that a layer loses at most",
    )
    add_sensitivity(group)
    where = "layer index, range (3-20) or kind (convolutional)"
    add("--exclude", nargs="+", default=[], metavar="LAYER", help=f"leave these alone: {where}")
    add("--only", nargs="+", default=[], metavar="LAYER", help=f"prune nothing but these: {where}")


def _add_form(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--form",
        choices=[form for form in get_args(Form) if form],
        help="remove only what leaves its blocks whole for these modules (equal halves of a C2f, "
        "equal heads): export.py --format ultralytics then makes a .pt of it",
    )


def _add_importance(group: argparse._ActionsContainer, channels: bool) -> None:
    add = group.add_argument
    kinds = "; ".join(f"{name}: {kind.meaning}" for name, kind in IMPORTANCES.items())
    add(
        "--importance",
        type=kind_and_cost,
        default="bn",
        metavar="KIND[:COST]",
        help=f"what ranks the channels. {kinds}. With :params, :macs or :latency behind it, over "
        "what the removal of a channel saves of these",
    )
    if channels:
        add(
            "--ranking",
            choices=get_args(Among),
            default="global",
            help="which channels compete: all (global), those of groups of layers with the same "
            "structure (isomorphic), or those of one group (layer); of each such pool the same "
            "share goes",
        )
    add(
        "--normalize",
        choices=get_args(Normalization),
        help="divide channels' scores by their layer's mean (layer), by that of all (global: same "
        "order), or not; left out: layer for l1, l2 and fpgm, which grow with kernels, else none",
    )
    add(
        "--taylor-batches",
        type=positive_int,
        default=16,
        metavar="N",
        help="training batches that --importance taylor and obd average over (needs --data)",
    )


def _add_outputs(group: argparse._ActionsContainer) -> None:
    add = group.add_argument
    add("--name", help="write PROJECT/NAME/NAME.cfg, .weights and .plan.json; left out, files "
        "beside the inputs, called by the flags")  # fmt: skip
    add("--project", metavar="DIR", default=RUNS, help="folder of such folders")
    add("--report", metavar="FOLDER", help="also write report.html and report.json into FOLDER")
    add_sweep_output(group)
    add("--dry-run", action="store_true", help="everything up to the table; write nothing")
    add("--force", action="store_true", help="overwrite output files of an earlier run")
    add(
        "--recalibrate",
        type=image_count,
        metavar="N",
        help="measure the BN statistics of the pruned network again, on N training images (200 do; "
        "needs --data)",
    )
    add(
        "--repair",
        type=image_count,
        metavar="N",
        help="fit the kernels behind the cut again, in closed form, to what the uncut network "
        "computes for N training images (64 do; needs --data): for nets that are not trained on",
    )
    add_bn_epsilon(group)
    add_strict_darknet(group)


def _add_scoring(group: argparse._ActionsContainer) -> None:
    add_img_size(group)
    add_fit(group)
    add_nms(group)
    group.add_argument(
        "--batch-size", type=positive_int, default=16, help="images per batch when scoring"
    )
    add_device(group)
    add_workers(group)
    group.add_argument(
        "--seed", type=seed, default=0, help="of random scores and of the training images drawn"
    )
