"""The flags that say how much goes: shares, budgets, blocks, a drop of the mAP."""

from __future__ import annotations

import argparse
from typing import get_args

from ...command.cli import positive_int, ratio
from ...command.value_range import several
from ...runtimes.options import Runtime
from ..options import DEFAULT_SHORTCUTS, Measure
from ..strategy import Strategy
from ..sweeps.flags import add_max_map_drop
from .flag_types import budget, latency

# Of a script that removes channels, blocks, or both.
FIRST_AMOUNTS = {
    (True, False): ("--target-params", "--target-macs", "--target-latency-ms", "--round-to"),
    (False, True): ("--shortcuts",),
    (True, True): ("--shortcuts", "--target-params", "--target-macs", "--round-to"),
}


def add_amounts(group: argparse._ActionsContainer, strategy: Strategy) -> None:
    """Add a script's flags for how much goes."""
    add = group.add_argument
    add_max_map_drop(group)
    if strategy.channels is not None:
        _add_targets(group)
        add(
            "--runtime",
            choices=get_args(Runtime),
            default="torch",
            help="what --target-latency-ms is measured in",
        )
        add(
            "--latency-table",
            metavar="FILE",
            help="times that latency_table.py measured, here or on another device, in the place of "
            "measuring them now",
        )
        add(
            strategy.ratio_flag,
            dest="ratio",
            type=several(ratio),
            metavar="RATIO",
            help="share of the channels to remove, over all layers: best the share that sparse "
            "training has pulled to zero; START:STOP:STEP or a,b,c tries several and writes a "
            f"table and a picture (default: {strategy.ratio})",
        )
    if strategy.blocks:
        add(
            "--shortcuts",
            type=several(positive_int),
            metavar="N",
            help="residual blocks to remove, a shortcut and the branch that it adds; "
            f"2:16:2 tries several (default: {DEFAULT_SHORTCUTS})",
        )


def _add_targets(group: argparse._ActionsContainer) -> None:
    targets: tuple[tuple[Measure, str, str], ...] = (
        ("params", "parameters", "met within 1%%"),
        ("macs", "MACs", "met within 1%%"),
        ("file", "bytes of the .weights file", "met within 1%%"),
        ("channels", "channels of all layers", "met as closely as ties allow"),
    )
    for measure, what, how in targets:
        group.add_argument(
            f"--target-{measure}",
            dest="budgets",
            action="append",
            type=budget(measure),
            metavar="SHARE",
            help=f"the share of the {what} that may stay, {how}; several targets must all hold",
        )
    group.add_argument(
        "--at-most",
        action="store_true",
        help="shares are limits: where channels go in large groups, less than that may stay",
    )
    group.add_argument(
        "--widths",
        metavar="FILE",
        help="how many channels each group of tied layers keeps, as search.py finds it; in the "
        "place of any amount",
    )
    group.add_argument(
        "--target-latency-ms",
        dest="budgets",
        action="append",
        type=latency,
        metavar="MS",
        help="milliseconds that one image may take in --runtime. Every layer is timed at several "
        "widths, and the channels go that lose the least importance for each millisecond saved; "
        "goes well with --round-to 8",
    )
