"""`--importance` and `--normalize`: from flags to scores."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from typing import Any, get_args

from torch import Tensor

from ...command.cli import Parser, positive_int
from ...command.device import pick_device
from ...command.errors import UserError
from ...command.progress import progress_bar
from ...detection.figures import Model
from ...detection.training_images import training_batches
from ...network.graph import ChannelGraph
from ...network.weights import State
from ...training.losses.loss import DetectionLoss, total
from ..importance.kernels import random_scores
from ..importance.kinds import IMPORTANCES
from ..importance.scores import Normalization, Scores, normalize
from ..importance.taylor import taylor


def add_importance(parser: Parser) -> None:
    """Add `--importance` and what belongs to it; see `channel_scores` and `comparable`."""
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


def channel_scores(
    graph: ChannelGraph, model: Model, state: State, args: argparse.Namespace
) -> Scores:
    """The scores of `--importance`, as they are. Raises UserError where they cannot be had."""
    kind = IMPORTANCES[args.importance]
    if kind.from_state is not None:
        return kind.from_state(graph, state)
    if args.importance == "random":
        return random_scores(graph, args.seed)
    return _taylor(graph, model, args)


def comparable(scores: Scores, args: argparse.Namespace) -> Scores:
    """The scores as `--normalize` makes the channels of different layers comparable.

    For channels only: with their mean divided out, all blocks would rank alike.
    """
    return normalize(scores, args.normalize or IMPORTANCES[args.importance].normalization)


def _taylor(graph: ChannelGraph, model: Model, args: argparse.Namespace) -> Scores:
    if not model.heads:
        raise UserError(
            f"{model.cfg.source}: --importance taylor needs a loss, which only nets with heads have"
        )
    loss = DetectionLoss(model.heads)

    def value(raw: Sequence[Tensor], targets: Tensor, img_hw: tuple[int, int]) -> Tensor:
        return total(loss(raw, targets, img_hw))

    count = args.taylor_batches
    batches = training_batches(model, args, args.batch_size, count * args.batch_size)
    bar = progress_bar(batches, "taylor importance", "batch", count)
    twin: Any = copy.deepcopy(model)
    return taylor(graph, twin.to(pick_device(args.device)), bar, value)
