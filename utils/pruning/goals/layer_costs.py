"""What a layer costs at other widths, in parameters or MACs: exact, from its shape alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...network.graph import ChannelGraph, Mask
from ...network.layers import Layer
from ..importance.options import ShapeCost
from .latency import LatencyTable

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


def _price(layer: Layer, cost: ShapeCost) -> tuple[float, float]:
    """What a pair of channels costs, and what an output channel does beside its pairs."""
    inputs, outputs = layer.inputs[0][0], layer.shape[0]
    if cost == "macs":
        kernel, others = layer.macs(), 0
    else:
        sizes = [f.size for f in layer.fields() if not f.name.endswith(("_mean", "_var"))]
        kernel, others = max(sizes), sum(sizes) - max(sizes)
    if layer.groups > 1:
        return 0.0, (kernel + others) / outputs
    return kernel / (inputs * outputs), others / outputs
