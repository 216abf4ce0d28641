"""Importance by the loss: how much it would change, to first order, if a gamma became 0."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ...command.errors import UserError
from ...network.darknet import Network
from ...network.graph import ChannelGraph
from .scores import Scores, as_values

Losses = Callable[[list[Tensor], Tensor, tuple[int, int]], Tensor]


def taylor(
    graph: ChannelGraph,
    network: Network,
    batches: Iterable[tuple[Tensor, Tensor]],
    loss: Losses,
) -> Scores:
    """Mean over the batches of |gamma * dL/dgamma|.

    Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019, section 3.1
    (first order, at the batch normalisation), without the square. beta has no part in it: pruning
    folds what beta emits into the layers behind.

    batches: images (B, 3, H, W) in 0..1 and targets, on the network's device. loss: raw heads,
    targets and (H, W) -> scalar. Batch normalisation runs on its running statistics, and network,
    gradients and statistics are left as they were. Raises UserError without a batch.
    """
    gammas = {
        index: module.get_parameter("bn.weight")
        for index in graph.issued
        if isinstance(getattr(module := network.layers[index], "bn", None), nn.BatchNorm2d)
    }
    frozen = [gamma for gamma in gammas.values() if not gamma.requires_grad]
    was_training = network.training
    network.eval()
    for gamma in frozen:
        gamma.requires_grad_(True)
    try:
        sums = _accumulated(network, list(gammas.values()), batches, loss)
    finally:
        network.train(was_training)
        for gamma in frozen:
            gamma.requires_grad_(False)
    return {index: as_values(total) for index, total in zip(gammas, sums, strict=True)}


def _accumulated(
    network: Network,
    gammas: list[nn.Parameter],
    batches: Iterable[tuple[Tensor, Tensor]],
    loss: Losses,
) -> list[Tensor]:
    sums = [torch.zeros_like(gamma, dtype=torch.float64) for gamma in gammas]
    count = 0
    with torch.enable_grad():
        for images, targets in batches:
            size = (images.shape[2], images.shape[3])
            value = loss(network.raw_heads(images), targets, size)
            # autograd.grad, not backward: nobody's .grad is touched.
            found = torch.autograd.grad(value, gammas, allow_unused=True)
            for total, gamma, slope in zip(sums, gammas, found, strict=True):
                if slope is not None:
                    total += (gamma.detach() * slope).abs().double()
            count += 1
    if not count:
        raise UserError("taylor importance needs at least one batch of labelled images")
    return [total / count for total in sums]
