"""Residual blocks, found in the graph: what layer pruning can take out of a network.

A block is the run of layers between a `shortcut` and the layer that it adds, when nobody outside
reads the inside. Without the block the shortcut's value is that layer's, plus the constant that the
block's last convolution emits once its gammas count as 0. Where the shortcut has an activation,
that must still be applied to the sum: a depthwise 1x1 convolution with weights 1, which all
runtimes know, takes the shortcut's place, and the constant as its bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..cfg import new_section
from ..network.graph import ChannelGraph
from ..network.layers import Convolutional, Layer


@dataclass(frozen=True)
class ResidualBlock:
    """Layers source+1 .. shortcut; `judge` is the last convolution, whose gammas rank the block."""

    source: int
    shortcut: int
    judge: int
    activation: str = "linear"  # of the shortcut

    @property
    def inside(self) -> range:
        """The layers between."""
        return range(self.source + 1, self.shortcut)

    @property
    def layers(self) -> range:
        """Everything that goes with the block: all but a shortcut with an activation."""
        return range(self.source + 1, self.shortcut + (self.activation == "linear"))


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
    return ResidualBlock(source, layer.index, judge, layer.activation)


def activation_alone(shortcut: Layer, block: ResidualBlock) -> Layer:
    """What remains of a removed block's shortcut: its activation, as a depthwise convolution.

    A full-size layer at the shortcut's place that reads the block's source; its weights are 1 and
    its biases the constants that arrive.
    """
    channels = shortcut.shape[0]
    section = new_section(
        "convolutional",
        shortcut.section.source,
        shortcut.section.lines[0].number,
        filters=channels,
        size=1,
        stride=1,
        pad=1,
        groups=channels,
        activation=block.activation,
    )
    return Convolutional(section, shortcut.index, (block.source,), (shortcut.shape,))


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
