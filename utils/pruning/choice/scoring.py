"""From a ranking that is asked for to scores."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

from ...command.errors import UserError
from ...command.machine.device import pick_device
from ...command.progress import progress_bar
from ...detection.options import Scoring
from ...network.darknet import Network
from ...network.graph import ChannelGraph
from ...network.weights import State
from ..importance.coupled import group_norm
from ..importance.kernels import random_scores
from ..importance.kinds import FROM_STATE
from ..importance.obd import obd
from ..importance.options import IMPORTANCES, Kind, Ranking
from ..importance.pairs import with_pairs
from ..importance.scores import Scores, normalize
from ..importance.taylor import Losses, taylor
from ..sensitivity.caps import state_hash

FromLoss = Callable[[ChannelGraph, Network, Iterable[tuple[Tensor, Tensor]], Losses], Scores]
_BY_LOSS: dict[Kind, FromLoss] = {"taylor": taylor, "obd": obd}
_known: ContextVar[dict[Hashable, Scores] | None] = ContextVar("known scores", default=None)


@contextmanager
def remembered_scores() -> Iterator[None]:
    """Within, scores of the same weights, importance and images are measured once.

    For whoever cuts one network again and again, while its cfg and its data stay as they are:
    those by a loss take as long as an epoch of training.
    """
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def channel_scores(
    graph: ChannelGraph, network: Network, state: State, ranking: Ranking, how: Scoring
) -> Scores:
    """The scores of an importance, as they are; `how` says where training images come from.

    Raises UserError where they cannot be had.
    """
    kind = ranking.importance
    if kind in FROM_STATE:
        found = FROM_STATE[kind](graph, state)
    elif kind == "group":
        found = group_norm(graph, network)
    elif kind == "random":
        found = random_scores(graph, how.seed)
    else:
        found = _once(graph, network, state, ranking, how)
    return with_pairs(graph, state, found, kind)


def comparable(scores: Scores, ranking: Ranking) -> Scores:
    """The scores with the channels of different layers made comparable.

    For channels only: with their mean divided out, all blocks would rank alike.
    """
    return normalize(scores, ranking.normalization)


def _once(
    graph: ChannelGraph, network: Network, state: State, ranking: Ranking, how: Scoring
) -> Scores:
    """As `_by_loss`; within `remembered_scores`, what was found before for the same."""
    known = _known.get()
    if known is None:
        return _by_loss(graph, network, ranking, how)
    key = (state_hash(state), network.img_size, ranking.importance, ranking.taylor_batches, how)
    if key not in known:
        known[key] = _by_loss(graph, network, ranking, how)
    return known[key]


def _by_loss(graph: ChannelGraph, network: Network, ranking: Ranking, how: Scoring) -> Scores:
    # Losses and data sets are half of the modules that a prune could load; most need none of them.
    from ...detection.training_images import training_batches
    from ...training.losses.loss import DetectionLoss, total

    if not network.heads:
        raise UserError(
            f"{network.cfg.source}: --importance {ranking.importance} needs a loss, which only "
            "nets with heads have"
        )
    loss = DetectionLoss(network.heads)

    def value(raw: Sequence[Tensor], targets: Tensor, img_hw: tuple[int, int]) -> Tensor:
        return total(loss(raw, targets, img_hw))

    alone = IMPORTANCES[ranking.importance].measured == "images"
    images = ranking.taylor_batches * how.batch_size
    size = 1 if alone else how.batch_size
    batches = training_batches(network, how, size, images)
    unit = "image" if alone else "batch"
    bar = progress_bar(batches, f"{ranking.importance} importance", unit, images // size)
    twin = copy.deepcopy(network).to(pick_device(how.device))
    return _BY_LOSS[ranking.importance](graph, twin, bar, value)
