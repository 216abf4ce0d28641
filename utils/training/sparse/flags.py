"""The flags of sparse training, and what they mean."""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Sequence
from typing import get_args

from torch import Tensor

from ...command.cli import Parser, ratio
from ...command.errors import UserError
from ..optimization.schedule import Schedule
from .pull import Sparsity, SparsityDecay, SparsitySchedule, SparsityUpdate, auto_strength

AUTO = "auto"  # of --s
REMEASURED = 200  # images, of --remeasure
PRUNE_SCRIPTS = {0: "prune", 1: "slim_prune"}  # the numbers that `--prune` takes

logger = logging.getLogger(__name__)


def add_sparsity_flags(parser: Parser, strategies: Sequence[str]) -> None:
    """Add them; `strategies` are the names of the prune scripts."""
    add = parser.add_argument
    add(
        "-sr",
        "--sparsity-regularization",
        action="store_true",
        help="sparse training: L1 on the BN gammas that the prune script may remove",
    )
    add(
        "--s",
        type=strength,
        default=0.001,
        metavar="X",
        help="its strength, once per optimizer step; auto: a gamma that nothing opposes is gone "
        "half-way through this training",
    )
    add(
        "--sparsity-update",
        choices=get_args(SparsityUpdate),
        default="subgradient",
        help="subgradient: --s is added to the gradients, for --optimizer sgd; prox: after each "
        "step gammas move --s times the learning rate towards zero, with any optimizer",
    )
    add(
        "--sparsity-schedule",
        choices=get_args(SparsitySchedule),
        default="constant",
        help="of --s: linear falls to a tenth; the decays leave --decay-factor of it after "
        "--decay-at, local-decay only for the --keep-percent-th percentile and above",
    )
    decay = SparsityDecay()
    add("--decay-at", type=ratio, default=decay.at, help="share of the training before the decay")
    add("--decay-factor", type=ratio, default=decay.factor, help="what the decay leaves of --s")
    add("--keep-percent", type=ratio, default=decay.keep_percent, help="gammas spared above it")
    add(
        "--prune",
        type=int,
        choices=tuple(PRUNE_SCRIPTS),
        default=1,
        help="for which script: 0 is prune, 1 is slim_prune",
    )
    add("--strategy", choices=tuple(strategies), help="the script by name, instead of --prune")
    add(
        "--sparsity-plan",
        metavar="FILE",
        help="NAME.plan.json of any prune of this network: pull the channels that it removed, and "
        "no others, in place of what the script may remove",
    )
    add(
        "--remeasure",
        type=int,
        metavar="N",
        help="measure the BN statistics of the averaged weights on N training images before they "
        f"are scored or saved for good, as shrinking gammas need; left out: {REMEASURED} with -sr",
    )


def strength(text: str) -> float | str:
    """Value of `--s`: a number from 0 on, or "auto"."""
    if text == AUTO:
        return text
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: a number from 0 on, or {AUTO}")
    return value


def chosen_remeasure(args: argparse.Namespace) -> int:
    """Value of `--remeasure`, as given or by default."""
    if args.remeasure is not None:
        return int(args.remeasure)
    return REMEASURED if args.sparsity_regularization and not args.freeze_bn else 0


def make_sparsity(
    targets: Sequence[tuple[Tensor, Tensor]], args: argparse.Namespace, schedule: Schedule
) -> Sparsity:
    """The pull on `targets` that the flags describe.

    Raises UserError for `--s auto` where the optimizer rescales the pull.
    """
    decay = SparsityDecay(
        args.sparsity_schedule, args.decay_at, args.decay_factor, args.keep_percent
    )
    sparsity = Sparsity(targets, 0.0, decay, args.sparsity_update)
    if args.s != AUTO:
        sparsity.s = args.s
    elif args.sparsity_regularization:
        if args.sparsity_update == "subgradient" and args.optimizer != "sgd":
            raise UserError(
                "--s auto: AdamW rescales a subgradient, so no strength can be told beforehand; "
                "give --sparsity-update prox, or --optimizer sgd"
            )
        sparsity.s = auto_strength(sparsity, schedule, args.lr0)
        logger.info("--s auto: %.3g for %d optimizer steps", sparsity.s, schedule.steps)
    return sparsity


def strategy_name(args: argparse.Namespace) -> str:
    """The prune script that sparse training prepares for."""
    return str(args.strategy or PRUNE_SCRIPTS[args.prune])
