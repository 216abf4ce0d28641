"""What a pruning script may remove: the definitions that tell the five scripts apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..network.graph import ChannelGraph, Mask
from .blocks import find_blocks


@dataclass(frozen=True)
class ChannelRule:
    """How channels are chosen.

    tied: what decides for channels that a shortcut adds up: "keep" (they all stay), "first" (the
    first convolution of the group), "max" (each convolution may save a channel).
    floor: what each convolution keeps at least: its best channel, or the share `--layer_keep`.
    keep_threshold: whether a channel exactly at the threshold stays.
    """

    tied: Literal["keep", "first", "max"]
    floor: Literal["one", "ratio"] = "one"
    keep_threshold: bool = True


@dataclass(frozen=True)
class Strategy:
    """One pruning script: its rule for channels, if any, and whether residual blocks go.

    `ratio_flag` and `ratio` are the flag of the share of channels and its default.
    """

    channels: ChannelRule | None = None
    blocks: bool = False
    ratio_flag: str = "--percent"
    ratio: float = 0.8

    @property
    def has_floor(self) -> bool:
        """Whether `--layer_keep` applies."""
        return self.channels is not None and self.channels.floor == "ratio"

    def file_name(self, name: str, ratio: object, layer_keep: float, shortcuts: int) -> str:
        """Name of an output: `prune_16_shortcut_prune_0.93_keep_0.01_NAME`, or parts of it.

        `ratio` is the ratio or the budget that takes its place.
        """
        blocks = f"prune_{shortcuts}_shortcut_" if self.blocks else ""
        channels = f"prune_{ratio}_" if self.channels else ""
        floor = f"keep_{layer_keep}_" if self.has_floor else ""
        return f"{blocks}{channels}{floor}{name}"


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
