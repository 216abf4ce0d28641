"""All weights that sparse training pulls, with the channels that they go with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ...command.errors import UserError
from ...network.channel_links import read_links
from ...network.darknet import Network
from ...network.graph import ChannelGraph, Mask, channel_graph
from ...training.sparse.coupled import Coupled, CoupledLayer
from ..candidates import find_candidates
from ..importance.coupled import kernels_of
from ..plan import removable
from ..sensitivity.groups import find_groups
from ..strategy import Strategy


def coupled_targets(network: Network, strategy: Strategy, plan: str | None = None) -> Coupled:
    """All weights that go with the channels that `strategy` may remove, or that `plan` removed.

    With or without batch normalisation. plan: NAME.plan.json. Raises UserError where that is no
    channel, for a strategy that removes none, and for the plan of another network.
    """
    graph = channel_graph(network.rules)
    pulled = _may_go(graph, strategy) if plan is None else _removed(graph, Path(plan))
    if not pulled.any():
        raise UserError("--sparsity-penalty: no channel may go, so there is nothing to pull")
    layers = []
    for kernel in kernels_of(graph, network):
        read = None if kernel.depthwise else torch.from_numpy(graph.inputs[kernel.index][0])
        written = torch.from_numpy(graph.outputs[kernel.index])
        own, *others = kernel.parameters
        layers.append(CoupledLayer(own, tuple(others), written, read, kernel.groups))
    number = np.zeros(graph.count, np.int64)
    for k, group in enumerate(find_groups(graph), 1):
        number[group.classes] = k
    gammas = [
        (network.layers[index].get_parameter("bn.weight"), torch.from_numpy(pulled[classes]))
        for index, classes in sorted(graph.issued.items())
        if graph.layers[index].normalized and pulled[classes].any()
    ]
    return Coupled(tuple(layers), torch.from_numpy(number), torch.from_numpy(pulled), gammas)


def _may_go(graph: ChannelGraph, strategy: Strategy) -> Mask:
    """Classes that a strategy may remove, by whatever score. Raises UserError."""
    if strategy.channels is None:
        raise UserError("--sparsity-penalty: pulls whole channels; --strategy removes blocks alone")
    candidates = find_candidates(graph, strategy.channels, None, graph.issued)
    return removable(graph, candidates, strategy.channels)


def _removed(graph: ChannelGraph, path: Path) -> Mask:
    """Classes that a plan removed. Raises UserError for the plan of another network."""
    kept = {x.teacher_layer: x.channels for x in read_links(path, None, graph.layers).values()}
    gone: Mask = np.zeros(graph.count, bool)
    for index, classes in graph.issued.items():
        gone[np.delete(classes, list(kept.get(index, ())))] = True
    for index, classes in graph.issued.items():
        gone[classes[list(kept.get(index, ()))]] = False
    return gone
