"""From a ranking that is asked for to scores."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor

from ...command.errors import UserError
from ...command.machine.device import pick_device
from ...command.progress import progress_bar
from ...detection.options import Scoring
from ...network.darknet import Network
from ...network.graph import ChannelGraph
from ...network.weights import State
from ..importance.kernels import random_scores
from ..importance.kinds import FROM_STATE
from ..importance.options import Ranking
from ..importance.pairs import with_pairs
from ..importance.scores import Scores, normalize
from ..importance.taylor import taylor


def channel_scores(
    graph: ChannelGraph, network: Network, state: State, ranking: Ranking, how: Scoring
) -> Scores:
    """The scores of an importance, as they are; `how` says where training images come from.

    Raises UserError where they cannot be had.
    """
    kind = ranking.importance
    if kind in FROM_STATE:
        found = FROM_STATE[kind](graph, state)
    elif kind == "random":
        found = random_scores(graph, how.seed)
    else:
        found = _taylor(graph, network, ranking.taylor_batches, how)
    return with_pairs(graph, state, found, kind)


def comparable(scores: Scores, ranking: Ranking) -> Scores:
    """The scores with the channels of different layers made comparable.

    For channels only: with their mean divided out, all blocks would rank alike.
    """
    return normalize(scores, ranking.normalization)


def _taylor(graph: ChannelGraph, network: Network, count: int, how: Scoring) -> Scores:
    # Losses and data sets are half of the modules that a prune could load; most need none of them.
    from ...detection.training_images import training_batches
    from ...training.losses.loss import DetectionLoss, total

    if not network.heads:
        raise UserError(
            f"{network.cfg.source}: --importance taylor needs a loss, which only nets with heads "
            "have"
        )
    loss = DetectionLoss(network.heads)

    def value(raw: Sequence[Tensor], targets: Tensor, img_hw: tuple[int, int]) -> Tensor:
        return total(loss(raw, targets, img_hw))

    batches = training_batches(network, how, how.batch_size, count * how.batch_size)
    bar = progress_bar(batches, "taylor importance", "batch", count)
    twin = copy.deepcopy(network)
    return taylor(graph, twin.to(pick_device(how.device)), bar, value)
