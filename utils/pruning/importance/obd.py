"""Importance by the loss to second order, of everything that goes with a channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ...command.errors import UserError
from ...network.darknet import Network
from ...network.graph import ChannelGraph
from .coupled import kernels_of, sums_by_channel
from .scores import Scores

Losses = Callable[[list[Tensor], Tensor, tuple[int, int]], Tensor]


def obd(
    graph: ChannelGraph,
    network: Network,
    images: Iterable[tuple[Tensor, Tensor]],
    loss: Losses,
) -> Scores:
    """Half the sum of w^2 F over all weights that go with a channel.

    LeCun et al., "Optimal Brain Damage", NIPS 1989, equation 5, with the diagonal of the empirical
    Fisher information, F = mean over images of (dL/dw)^2, for the Hessian's (Theis et al.,
    "Faster gaze prediction with dense networks and Fisher pruning", 2018, equation 8). The weights
    of a channel are its filters in every layer that issues it, their gammas and betas, and the
    slices of the kernels that read it.

    images: (1, C, H, W) in 0..1 with their targets, one at a time, on the network's device. The
    rest as in `taylor`. Raises UserError without an image.
    """
    layers = kernels_of(graph, network)
    parameters = [p for layer in layers for p in layer.parameters]
    frozen = [p for p in parameters if not p.requires_grad]
    was_training = network.training
    network.eval()
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        sums = _fisher(network, parameters, images, loss)
    finally:
        network.train(was_training)
        for parameter in frozen:
            parameter.requires_grad_(False)
    squares = iter(sums)
    values = [[next(squares) for _ in layer.parameters] for layer in layers]
    found = sums_by_channel(graph, layers, values)
    return {index: 0.5 * total for index, total in found.items()}


def _fisher(
    network: Network,
    parameters: list[Tensor],
    images: Iterable[tuple[Tensor, Tensor]],
    loss: Losses,
) -> list[Tensor]:
    """Mean over the images of (w dL/dw)^2, for each weight of each parameter."""
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    count = 0
    with torch.enable_grad():
        for image, targets in images:
            size = (image.shape[2], image.shape[3])
            value = loss(network.raw_heads(image), targets, size)
            found = torch.autograd.grad(value, parameters, allow_unused=True)
            for total, parameter, slope in zip(sums, parameters, found, strict=True):
                if slope is not None:
                    total += (parameter.detach() * slope).square()
            count += 1
    if not count:
        raise UserError("obd importance needs at least one labelled image")
    return [(total / count).cpu().double() for total in sums]
