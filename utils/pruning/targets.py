"""The gammas that sparse training pulls: what a script, or an earlier prune, would remove."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..command.errors import UserError
from ..network.channel_links import read_links
from ..network.darknet import Network
from ..network.graph import channel_graph
from ..network.layers.modules import ConvolutionModule
from .candidates import prunable_channels
from .strategy import Strategy


def sparsity_targets(network: Network, strategy: Strategy) -> list[tuple[nn.Parameter, Tensor]]:
    """The gammas that sparse training penalises: exactly what `strategy` may remove.

    Pairs of a BN weight (C,) and a bool mask over its channels.
    """
    graph = channel_graph(network.rules)
    prunable = prunable_channels(graph, strategy)
    return [
        (network.layers[index].get_parameter("bn.weight"), torch.from_numpy(free))
        for index, free in sorted(prunable.items())
        if free.any()
    ]


def planned_targets(network: Network, path: Path) -> list[tuple[nn.Parameter, Tensor]]:
    """The same for a prune that was tried before: the gammas of what NAME.plan.json removed.

    Raises UserError for the plan of another network, and for one that removed no channel.
    """
    kept = {x.teacher_layer: x.channels for x in read_links(path, None, network.rules).values()}
    targets = []
    for index, layer in enumerate(network.layers):
        if isinstance(layer, ConvolutionModule) and layer.bn is not None:
            gone = torch.ones(len(layer.bn.weight), dtype=torch.bool)
            gone[list(kept.get(index, ()))] = False
            if gone.any():
                targets.append((layer.bn.weight, gone))
    if not targets:
        raise UserError(
            f"{path}: removes no channel with a gamma, so there is nothing to pull; prune more"
        )
    return targets
