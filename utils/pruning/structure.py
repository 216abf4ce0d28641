"""Which residual blocks can go, from the cfg alone: for any weights, and without any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..network.graph import ChannelGraph, Mask, interpret
from ..network.layers import Layer, UnfoldableError
from .blocks import ResidualBlock, activation_alone, find_blocks


def removable_by_structure(
    graph: ChannelGraph,
) -> tuple[tuple[ResidualBlock, ...], Mapping[int, str]]:
    """The blocks that can go, and why every other shortcut (by index) cannot.

    Wherever a constant may arrive, it counts as one that does: see `Layer.carried`.
    """
    blocks, reasons = find_blocks(graph)
    found: list[ResidualBlock] = []
    others = dict(reasons)
    for block in blocks:
        try:
            _walk_without(graph.layers, block)
        except UnfoldableError as error:
            others[block.shortcut] = str(error)
        else:
            found.append(block)
    return tuple(found), others


def _walk_without(layers: Sequence[Layer], block: ResidualBlock) -> None:
    """Follow the constants that the block leaves. Raises UnfoldableError where they are stuck."""

    def rule(layer: Layer, inputs: list[Mask]) -> Mask:
        kept = np.full(layer.shape[0], layer.index not in block.inside)
        if layer.index == block.shortcut and layer.index not in block.layers:
            return activation_alone(layer, block).carried(inputs[:1], kept)
        gone = [source in block.inside for source in layer.sources]
        keeps = [np.full(len(m), not g) for m, g in zip(inputs, gone, strict=True)]
        layer.require_carried(inputs, keeps)
        return layer.carried(inputs, kept)

    interpret(layers, rule, np.zeros(layers[0].inputs[0][0], bool))
