"""Importance by the loss to second order, of everything that goes with a channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...command.errors import UserError
from ...network.darknet import Network
from ...network.graph import ChannelGraph
from .scores import Scores, Values, as_values

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
    layers = _with_kernels(graph, network)
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
    of_class = np.zeros(graph.count)
    squares = iter(sums)
    for layer in layers:
        kernel, *others = (next(squares) for _ in layer.parameters)
        outputs = as_values(kernel.sum((1, 2, 3)) + sum(others, torch.zeros(len(kernel))))
        np.add.at(of_class, graph.outputs[layer.index], outputs)
        if not layer.depthwise:  # there the input's channel is the output's, counted already
            np.add.at(of_class, graph.inputs[layer.index][0], _by_input(kernel, layer.groups))
    return {index: 0.5 * of_class[ids] for index, ids in graph.issued.items()}


@dataclass(frozen=True)
class _Kernel:
    """A layer's kernel (O, I / groups, k, k), then its gammas and betas, or its biases."""

    index: int
    parameters: tuple[Tensor, ...]
    groups: int
    depthwise: bool


def _with_kernels(graph: ChannelGraph, network: Network) -> list[_Kernel]:
    """Layers with a kernel of their own; one that shares another's adds nothing."""
    found = []
    for layer in graph.layers:
        conv = getattr(network.layers[layer.index], "conv", None)
        if layer.owner != layer.index or not isinstance(conv, nn.Conv2d):
            continue
        norm = getattr(network.layers[layer.index], "bn", None)
        others = (norm.weight, norm.bias) if isinstance(norm, nn.BatchNorm2d) else (conv.bias,)
        parameters = (conv.weight, *(p for p in others if p is not None))
        depthwise = conv.groups > 1 and conv.groups == conv.in_channels
        found.append(_Kernel(layer.index, parameters, conv.groups, depthwise))
    return found


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


def _by_input(kernel: Tensor, groups: int) -> Values:
    """Sums of (O, I / groups, k, k) over outputs and places, for each input channel (I,)."""
    return as_values(torch.cat([part.sum((0, 2, 3)) for part in kernel.chunk(groups)]))
