"""Which channels a strategy may remove: asked by pruning and by sparse training alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from ..network.graph import ChannelGraph, Mask
from .blocks import find_blocks
from .strategy import ChannelRule, Strategy


@dataclass(frozen=True)
class Candidates:
    """Which channels may go, and why others may not.

    `prunable[i]` holds one bool per output channel of convolution i (those that have scores);
    `reasons[i]` says why convolution i keeps some or all of them.
    """

    prunable: Mapping[int, Mask]
    reasons: Mapping[int, str]


def find_candidates(
    graph: ChannelGraph,
    rule: ChannelRule,
    excluded: Mapping[int, str] | None = None,
    judged: Collection[int] | None = None,
) -> Candidates:
    """The channels that `rule` may remove: what sparse training penalises, too.

    `excluded` names convolutions whose channels must all stay, with the reason. `judged` are those
    that have scores: with batch normalisation, unless given.
    """
    excluded = excluded or {}
    if judged is None:
        judged = {index for index in graph.issued if graph.layers[index].normalized}
    fixed = np.zeros(graph.count, bool)
    fixed[list(graph.pinned)] = True
    summed = np.zeros(graph.count, bool)
    summed[graph.summed] = True
    for index, classes in graph.issued.items():
        if index in excluded:
            fixed[classes] = True
        elif index not in judged:
            # What it adds has no score. What it merely scales (squeeze-and-excite, depthwise)
            # goes with the channel that it scales.
            fixed[classes[summed[classes]]] = True
    prunable: dict[int, Mask] = {}
    reasons: dict[int, str] = {}
    led: set[int] = set()
    for index, classes in sorted(graph.issued.items()):
        if index not in judged:
            reasons[index] = "no batch normalisation to judge its channels by"
            continue
        free = ~fixed[classes]
        if not free.all():
            pinned = graph.pinned.get(
                int(classes[~free][0]), "tied to a layer that must keep its own"
            )
            reasons[index] = excluded.get(index, pinned)
        if rule.tied == "keep" and summed[classes].any():
            free &= ~summed[classes]
            reasons.setdefault(index, "a shortcut adds its channels to others")
        if rule.tied == "first":
            follows = np.array([int(c) in led for c in classes]) & free
            led.update(classes.tolist())
            free &= ~follows
            if follows.any():
                reasons.setdefault(index, "follows the first convolution of its group")
        prunable[index] = free
    return Candidates(prunable, reasons)


def prunable_channels(
    graph: ChannelGraph, strategy: Strategy, excluded: Mapping[int, str] | None = None
) -> Mapping[int, Mask]:
    """The channels whose gammas decide what `strategy` removes, by layer with a kernel."""
    if strategy.channels is not None:
        return find_candidates(graph, strategy.channels, excluded).prunable
    judges = {block.judge for block in find_blocks(graph)[0]}
    return {index: np.ones(len(graph.issued[index]), bool) for index in judges}
