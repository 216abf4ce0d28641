"""Residual blocks, found in the graph: what layer pruning can take out of a network.

A block is the run of layers between a `shortcut` and the layer that it adds, when nobody outside
reads the inside. Without the block the shortcut's value is that layer's, plus the constant that the
block's last convolution emits once its gammas count as 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..graph import ChannelGraph
from ..layers import Layer


@dataclass(frozen=True)
class ResidualBlock:
    """Layers source+1 .. shortcut; `judge` is the last convolution, whose gammas rank the block."""

    source: int
    shortcut: int
    judge: int

    @property
    def inside(self) -> range:
        """The layers between."""
        return range(self.source + 1, self.shortcut)

    @property
    def layers(self) -> range:
        """Everything that goes with the block."""
        return range(self.source + 1, self.shortcut + 1)


def find_blocks(graph: ChannelGraph) -> tuple[tuple[ResidualBlock, ...], Mapping[int, str]]:
    """The blocks that can go, and for every other shortcut (by index) why it cannot."""
    blocks: list[ResidualBlock] = []
    reasons: dict[int, str] = {}
    for layer in graph.layers:
        if not layer.joins_branch:
            continue
        found = _block_at(layer, graph.layers)
        if isinstance(found, ResidualBlock):
            blocks.append(found)
        else:
            reasons[layer.index] = found
    return tuple(blocks), reasons


def _block_at(layer: Layer, layers: Sequence[Layer]) -> ResidualBlock | str:
    source = layer.identity_source
    if source is None:
        return "it is not a plain sum with one earlier layer of the same channels"
    inside = range(source + 1, layer.index)
    for reader in layers:
        if reader.index not in inside and reader is not layer:
            outside = {*reader.sources, reader.owner} - {reader.index}
            if any(read in inside for read in outside):
                return f"layer {reader.index} reads inside its block"
    judge = _judge(layers, layer.index - 1, inside)
    if judge is None:
        return "its block does not end in a convolution with batch normalisation"
    return ResidualBlock(source, layer.index, judge)


def _judge(layers: Sequence[Layer], index: int, inside: range) -> int | None:
    """The convolution whose value reaches the shortcut unmixed."""
    while index in inside:
        layer = layers[index]
        if layer.normalized:
            return index
        if len(layer.sources) != 1 or layer.owner != index or layer.fields():
            return None
        index = layer.sources[0]
    return None
