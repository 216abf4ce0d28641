"""The command line of the pruning scripts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from ...cfg.strict import add_strict_darknet
from ...command.cli import (
    Parser,
    add_device,
    add_img_size,
    add_workers,
    img_size,
    positive_int,
    ratio,
)
from ...command.value_range import several
from ...detection.as_the_cfg_says import add_fit, add_nms
from ...detection.inputs import add_inputs, inputs_of, require_inputs
from ...detection.options import Scoring
from ...network.options import add_bn_epsilon
from ...runtimes.options import Runtime
from ..importance.options import IMPORTANCES, Normalization, Ranking
from ..options import (
    DEFAULT_SHORTCUTS,
    LEAST_IMAGES,
    Budget,
    LatencyBudget,
    LayerRules,
    Measure,
    Outputs,
    PruneOptions,
    Typed,
)
from ..strategy import Strategy
from ..sweeps.flags import add_sweep_flags, sorted_amounts


def read_flags(
    strategy: Strategy, doc: str | None, argv: Sequence[str] | None = None
) -> PruneOptions:
    """`prune_flags`, after a look at the files that they name. Raises UserError."""
    options = prune_flags(strategy, doc, argv)
    require_inputs(options.inputs.cfg, options.inputs.weights, options.scoring.data)
    return options


def prune_flags(
    strategy: Strategy, doc: str | None, argv: Sequence[str] | None = None
) -> PruneOptions:
    """What the flags of a pruning script ask for; argv None: those of this process.

    Raises UserError for flags that do not go together.
    """
    args = _parser(strategy, doc).parse_args(argv)
    given = vars(args)
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
        given.get("budget"),
        amounts.sweep,
        amounts.shortcuts,
        given.get("layer_keep", 0.0),
        _rules(given),
        Ranking(args.importance, args.normalize, args.taylor_batches),
        given.get("runtime", "torch"),
        args.recalibrate,
        args.bn_epsilon,
        args.strict_darknet,
        Outputs(args.force, args.dry_run, args.report or "", args.output or ""),
    )
    settled = {
        "ratio": options.chosen_ratio,
        "shortcuts": options.chosen_shortcuts,
        "layer_keep": options.floor,
        "budget": options.budget,
        "sweep": options.sweep,
    }
    return replace(options, typed=Typed({**given, **settled}, _command_line(argv)))


def _rules(given: Mapping[str, Any]) -> LayerRules:
    """What the limits say; a script that removes blocks alone has no flags for them."""
    if "round_to" not in given:
        return LayerRules()
    return LayerRules(
        given["round_to"],
        given["max_ratio"],
        tuple(given["exclude"]),
        tuple(given["only"]),
        given["compat"],
    )


def _command_line(argv: Sequence[str] | None) -> tuple[str, ...]:
    """The command as a user would type it; `argv` None: that of this process."""
    given = sys.argv[1:] if argv is None else argv
    return ("python", Path(sys.argv[0]).name, *given)


def _parser(strategy: Strategy, doc: str | None) -> Parser:
    parser = Parser(doc)
    add = parser.add_argument
    add_inputs(parser)
    add(
        "--data",
        default="",
        help=".data file to score before and after; left out, nothing is scored",
    )
    _add_strategy_flags(parser, strategy)
    _add_importance(parser)
    add(
        "--recalibrate",
        type=_image_count,
        metavar="N",
        help="measure the BN statistics of the pruned network again, on N training images (200 do; "
        "needs --data)",
    )
    add_img_size(parser)
    add_fit(parser)
    add_nms(parser)
    add("--batch-size", type=positive_int, default=16, help="images per batch when scoring")
    add_device(parser)
    add_workers(parser)
    add("--seed", type=_seed, default=0, help="of random scores and of the training images drawn")
    add_bn_epsilon(parser)
    add_strict_darknet(parser)
    add("--force", action="store_true", help="overwrite output files of an earlier run")
    add("--dry-run", action="store_true", help="everything up to the table; write nothing")
    add("--report", metavar="FOLDER", help="also write report.html and report.json into FOLDER")
    add_sweep_flags(parser)
    return parser


def _add_importance(parser: Parser) -> None:
    add = parser.add_argument
    kinds = "; ".join(f"{name}: {kind.meaning}" for name, kind in IMPORTANCES.items())
    add(
        "--importance",
        choices=tuple(IMPORTANCES),
        default="bn",
        help=f"what ranks the channels. {kinds}",
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
        help="training batches that --importance taylor averages over (needs --data)",
    )


def _image_count(text: str) -> int:
    count = positive_int(text)
    if count < LEAST_IMAGES:
        raise argparse.ArgumentTypeError(f"must be at least {LEAST_IMAGES}, got {text}")
    return count


def _add_limit_flags(parser: Parser) -> None:
    add = parser.add_argument
    wish = parser.add_mutually_exclusive_group()
    targets: tuple[tuple[Measure, str, str], ...] = (
        ("params", "parameters", "met within 1%%"),
        ("macs", "MACs", "met within 1%%"),
        ("channels", "channels of all layers", "met as closely as ties allow"),
    )
    for measure, what, how in targets:
        wish.add_argument(
            f"--target-{measure}",
            dest="budget",
            type=_budget(measure),
            metavar="SHARE",
            help=f"instead of a ratio: the share of the {what} that may stay, {how}",
        )
    wish.add_argument(
        "--target-latency-ms",
        dest="budget",
        type=_latency,
        metavar="MS",
        help="instead of a ratio: milliseconds that one image may take in --runtime. Every layer "
        "is timed at several widths, and the channels go that lose the least importance for each "
        "millisecond saved; goes well with --round-to 8",
    )
    add(
        "--runtime",
        choices=get_args(Runtime),
        default="torch",
        help="what --target-latency-ms is measured in",
    )
    add(
        "--round-to",
        type=positive_int,
        default=1,
        metavar="N",
        help="keep multiples of N channels, rounding up: 8 suits most runtimes",
    )
    add(
        "--max-ratio",
        type=ratio,
        default=1.0,
        metavar="RATIO",
        help="share of its channels that a layer loses at most",
    )
    where = "layer index, range (3-20) or kind (convolutional)"
    add("--exclude", nargs="+", default=[], metavar="LAYER", help=f"leave these alone: {where}")
    add("--only", nargs="+", default=[], metavar="LAYER", help=f"prune nothing but these: {where}")
    add(
        "--compat",
        action="store_true",
        help="prune only what the known suite can prune, to compare with its results",
    )


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {text}")
    return value


def _budget(measure: Measure) -> Callable[[str], Budget]:
    def share(text: str) -> Budget:
        return Budget(measure, ratio(text))

    return share


def _latency(text: str) -> LatencyBudget:
    ms = float(text)
    if not 0 < ms < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number of milliseconds, got {text}")
    return LatencyBudget(ms)


def _add_strategy_flags(parser: Parser, strategy: Strategy) -> None:
    add = parser.add_argument
    if strategy.blocks:
        add(
            "--shortcuts",
            type=several(positive_int),
            metavar="N",
            help="residual blocks to remove, a shortcut and the branch that it adds; "
            f"2:16:2 tries several (default: {DEFAULT_SHORTCUTS})",
        )
    if strategy.channels is not None:
        add(
            strategy.ratio_flag,
            dest="ratio",
            type=several(ratio),
            metavar="RATIO",
            help="share of the channels to remove, over all layers; START:STOP:STEP or a,b,c tries "
            f"several and writes a table and a picture (default: {strategy.ratio})",
        )
        _add_limit_flags(parser)
    if strategy.has_floor:
        add(
            "--layer-keep",
            type=ratio,
            default=0.01,
            help="share of its channels that each convolution keeps at least",
        )
