"""All weights that go with a channel: filters, gammas, betas or biases, and what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...network.darknet import Network
from ...network.graph import ChannelGraph
from .scores import Scores, Values, as_values


@dataclass(frozen=True)
class Kernel:
    """A layer's kernel (O, I / groups, k, k), then its gammas and betas, or its biases."""

    index: int
    parameters: tuple[Tensor, ...]
    groups: int
    depthwise: bool


def kernels_of(graph: ChannelGraph, network: Network) -> list[Kernel]:
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
        found.append(Kernel(layer.index, parameters, conv.groups, depthwise))
    return found


def group_norm(graph: ChannelGraph, network: Network) -> Scores:
    """Euclidean norm of all weights that go with a channel.

    Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, section 3.4: the square root
    of the sum, over a group's parameters, of |w[k]|^2; what --sparsity-penalty group-norm pulls.
    """
    layers = kernels_of(graph, network)
    squares = [[p.detach().cpu().double().square() for p in x.parameters] for x in layers]
    found = sums_by_channel(graph, layers, squares)
    return {index: np.sqrt(total) for index, total in found.items()}


def sums_by_channel(
    graph: ChannelGraph, layers: Sequence[Kernel], values: Sequence[Sequence[Tensor]]
) -> Scores:
    """Sums over all weights that go with each channel; `values`: a number for each weight."""
    of_class = np.zeros(graph.count)
    for layer, (kernel, *others) in zip(layers, values, strict=True):
        outputs = as_values(kernel.sum((1, 2, 3)) + sum(others, torch.zeros(len(kernel))))
        np.add.at(of_class, graph.outputs[layer.index], outputs)
        if not layer.depthwise:  # there the input's channel is the output's, counted already
            np.add.at(of_class, graph.inputs[layer.index][0], _by_input(kernel, layer.groups))
    return {index: of_class[ids] for index, ids in graph.issued.items()}


def _by_input(kernel: Tensor, groups: int) -> Values:
    """Sums of (O, I / groups, k, k) over outputs and places, for each input channel (I,)."""
    return as_values(torch.cat([part.sum((0, 2, 3)) for part in kernel.chunk(groups)]))
