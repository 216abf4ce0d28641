"""What a layer costs at other widths, in parameters or MACs: exact, from its shape alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ...network.cost import FLOAT_BYTES, HEADER_BYTES
from ...network.graph import ChannelGraph, Mask
from ...network.layers import Layer
from ..importance.options import ShapeCost
from .latency import LatencyTable

FromShape = ShapeCost | Literal["file"]
CostOfLayer = Callable[[int, Mask], float]


@dataclass(frozen=True)
class LayerCosts:
    """`of(index, keep)`: what a layer costs when the classes in `keep` stay; of these layers."""

    layers: tuple[int, ...]
    of: CostOfLayer
    unit: str


def by_time(table: LatencyTable) -> LayerCosts:
    """Milliseconds, as they were measured."""
    return LayerCosts(tuple(table.layers), table.layer_ms, "millisecond")


def by_shape(graph: ChannelGraph, cost: ShapeCost) -> LayerCosts:
    """Parameters or MACs of each layer with a kernel.

    A kernel's cost is that of one pair of an input and an output channel times their counts; with
    groups, each output channel reads as many inputs whatever is cut, so that outputs alone count.
    """
    priced = {layer.index: _price(layer, cost) for layer in graph.layers if layer.macs()}

    def of(index: int, keep: Mask) -> float:
        per_pair, per_output = priced[index]
        outputs = int(keep[graph.outputs[index]].sum())
        inputs = int(keep[graph.inputs[index][0]].sum())
        return outputs * (per_pair * inputs + per_output)

    return LayerCosts(tuple(priced), of, "parameter" if cost == "params" else "MAC")


def quick_cost(graph: ChannelGraph, measure: FromShape) -> Callable[[Mask], int] | None:
    """What the network costs that leaves the classes in `keep`, without building its layers.

    The numbers of `goals.budget.cost`, some hundred times as fast; file: bytes. None where anything
    but plain convolutions costs something: those are products of two widths.
    """
    costly = [layer for layer in graph.layers if layer.macs() or layer.fields()]
    if any(layer.section.kind != "convolutional" for layer in costly):
        return None
    prices = [_price(layer, measure) for layer in costly]
    outputs = [graph.outputs[layer.index] for layer in costly]
    inputs = [graph.inputs[layer.index][0] for layer in costly]

    def whole(keep: Mask) -> int:
        total = 0.0
        for (per_pair, per_output), read, made in zip(prices, inputs, outputs, strict=True):
            total += int(keep[made].sum()) * (per_pair * int(keep[read].sum()) + per_output)
        return round(total) + (HEADER_BYTES if measure == "file" else 0)

    return whole


def _price(layer: Layer, cost: FromShape) -> tuple[float, float]:
    """What a pair of channels costs, and what an output channel does beside its pairs."""
    inputs, outputs = layer.inputs[0][0], layer.shape[0]
    if cost == "macs":
        kernel, others = layer.macs(), 0
    else:
        left_out = ("_mean", "_var") if cost == "params" else ()
        each = FLOAT_BYTES if cost == "file" else 1
        sizes = [each * f.size for f in layer.fields() if not f.name.endswith(left_out)]
        kernel = max(sizes, default=0)  # none where another layer's kernel is used again
        others = sum(sizes) - kernel
    if layer.groups > 1:
        return 0.0, (kernel + others) / outputs
    return kernel / (inputs * outputs), others / outputs
