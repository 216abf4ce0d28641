"""The flags of sparse training."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import get_args

from ...command.cli import Parser, ratio
from .options import (
    AUTO,
    PRUNE_SCRIPTS,
    REMEASURED,
    SparsityPenalty,
    SparsitySchedule,
    SparsityUpdate,
)


def add_sparsity_flags(parser: Parser, strategies: Sequence[str]) -> None:
    """Add the flags of `SparsityOptions`, which has their defaults; `strategies`: prune scripts."""
    add = parser.add_argument_group("sparse training").add_argument
    add(
        "-sr",
        "--sparsity-regularization",
        action="store_true",
        help="sparse training: L1 on the BN gammas that the prune script may remove",
    )
    add(
        "--s",
        type=strength,
        metavar="X",
        help="its strength, once per optimizer step, in the unit of --sparsity-update: some .001 "
        "for subgradient, some 10 for prox; auto: a gamma that nothing opposes is gone half-way "
        "through this training",
    )
    add(
        "--sparsity-penalty",
        choices=get_args(SparsityPenalty),
        help="gammas: L1 on BN gammas. For nets whose gammas say nothing, or without BN, squares "
        "of all weights that go with a channel: group-norm pulls the smaller ones of a group of "
        "layers up to 16 times as much; growing pulls those that --sparsity-plan names by a factor "
        "that grows to --s in the course of the training",
    )
    add(
        "--sparsity-update",
        choices=get_args(SparsityUpdate),
        help="subgradient: --s is added to the gradients, for --optimizer sgd; prox: after each "
        "step gammas move --s times the learning rate towards zero (weights shrink by that share), "
        "with any optimizer",
    )
    add(
        "--sparsity-schedule",
        choices=get_args(SparsitySchedule),
        help="of --s: linear falls to a tenth; the decays leave --decay-factor of it after "
        "--decay-at, local-decay only for the --keep-percent-th percentile and above",
    )
    add("--decay-at", type=ratio, help="share of the training before the decay")
    add("--decay-factor", type=ratio, help="what the decay leaves of --s")
    add("--keep-percent", type=ratio, help="gammas spared above it")
    _add_targets(add, strategies)
    add(
        "--remeasure",
        type=int,
        metavar="N",
        help="measure the BN statistics of the averaged weights on N training images before they "
        f"are scored or saved for good, as shrinking gammas need; left out: {REMEASURED} with -sr",
    )


def _add_targets(add: Callable[..., object], strategies: Sequence[str]) -> None:
    add(
        "--prune",
        type=int,
        choices=tuple(PRUNE_SCRIPTS),
        default=1,
        help="for which script: 0 is prune, 1 is slim_prune",
    )
    add(
        "--strategy",
        choices=tuple(strategies),
        default=None,
        help="the script by name, instead of --prune",
    )
    add(
        "--sparsity-plan",
        metavar="FILE",
        help="NAME.plan.json of any prune of this network: pull the channels that it removed, and "
        "no others, in place of what the script may remove",
    )


def strength(text: str) -> float | str:
    """Value of `--s`: a number from 0 on, or "auto"."""
    if text == AUTO:
        return text
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: a number from 0 on, or {AUTO}")
    return value
