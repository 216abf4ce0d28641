"""The command line of the pruning scripts."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, get_args

from ...cfg.strict import add_strict_darknet
from ...command.cli import Parser, add_device, add_img_size, add_workers, positive_int, ratio
from ...command.value_range import several
from ...detection.as_the_cfg_says import add_fit, add_nms
from ...network.bn_epsilon import add_bn_epsilon
from ...runtimes.options import Runtime
from ..goals.budget import Budget, LatencyBudget, Measure
from ..strategy import Strategy
from ..sweeps.flags import DEFAULT_SHORTCUTS, add_sweep_flags, settled
from .recalibrate import add_recalibrate
from .scoring import add_importance


def parse_args(strategy: Strategy, doc: str | None, argv: Sequence[str] | None) -> Any:
    """The flags of a pruning script."""
    parser = Parser(doc)
    add = parser.add_argument
    add("--cfg", default="cfg/yolov3.cfg", help="structure of the model")
    add("--data", help=".data file to score before and after; left out, nothing is scored")
    add("--weights", default="weights/last.pt", help=".weights or .pt, best after sparse training")
    _add_strategy_flags(parser, strategy)
    add_importance(parser)
    add_recalibrate(parser)
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
    # What a script has no flag for is there all the same.
    absent = {"ratio": None, "shortcuts": None, "layer_keep": 0.0, "budget": None}
    return settled(strategy, argparse.Namespace(**{**absent, **vars(parser.parse_args(argv))}))


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
            "--layer_keep",
            type=ratio,
            default=0.01,
            help="share of its channels that each convolution keeps at least",
        )
