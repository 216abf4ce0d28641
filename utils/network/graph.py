"""One walk over a network, several readings; and the channel graph, which is one of them.

`interpret` visits the layers in order and hands each the values of its sources. What a value is, is
up to the rule: tensors (running the network), constants (folding), or channel ids (this module):
one integer per output channel, equal for channels that must stay or go together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .layers import INPUT, Head, Layer
from .layers.ties import Ids, Ties
from .layers.ties import Mask as Mask  # many readers of the graph need it, and no other name

T = TypeVar("T")


def interpret(layers: Sequence[Layer], rule: Callable[[Layer, list[T]], T], start: T) -> list[T]:
    """The value of every layer; `start` is that of the network's input."""
    values: list[T] = []
    for layer in layers:
        values.append(rule(layer, [start if s == INPUT else values[s] for s in layer.sources]))
    return values


@dataclass(frozen=True)
class ChannelGraph:
    """Which channels of a network are tied, pinned, or bound to equal counts.

    `outputs[i]` and `inputs[i][k]` hold one class per channel of layer i and of its k-th source.
    """

    layers: tuple[Layer, ...]
    outputs: tuple[Ids, ...]
    inputs: tuple[tuple[Ids, ...], ...]
    issued: dict[int, Ids]  # layer with a kernel -> class of each of its output channels
    pinned: dict[int, str]  # class -> why it must stay
    equal_parts: tuple[Ids, ...]  # (parts, channels per part): each row keeps the same count
    parted_by: tuple[int, ...]  # the layer that each of `equal_parts` stems from
    tied_by: dict[int, Ids]  # layer -> classes that it ties
    summed: Ids  # classes whose channels a shortcut adds together
    count: int  # classes are numbered 0..count-1


class GraphBuilder(Ties):
    """The walk over the layers, and the one question about channels that needs to know them."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self._layers = tuple(layers)

    def build(self) -> ChannelGraph:
        """Walk the layers and number the classes."""
        start = self.fresh(self._layers[0].inputs[0][0])
        self.pin(start, "the network's input")
        interpret(self._layers, self._visit, start)
        if not any(isinstance(layer, Head) for layer in self._layers):
            # A network of sections that give none (a [cost] alone) hands its input on.
            last = max((layer.index for layer in self._layers if layer.gives_output), default=None)
            self.pin(start if last is None else self.outputs[last], "the network's output")
        roots = self._find(np.arange(len(self._parent)))
        _, number = np.unique(roots, return_inverse=True)
        pinned: dict[int, str] = {}
        for ids, reason in self._pins:
            for found in np.unique(number[ids]).tolist():
                pinned.setdefault(found, reason)
        return ChannelGraph(
            layers=self._layers,
            outputs=tuple(number[ids] for ids in self.outputs),
            inputs=tuple(tuple(number[ids] for ids in found) for found in self._inputs),
            issued={i: number[ids] for i, ids in self._issued.items()},
            pinned=pinned,
            equal_parts=tuple(number[ids] for ids in self._equal_parts),
            parted_by=tuple(self._parted_by),
            tied_by={i: np.unique(number[np.concatenate(t)]) for i, t in self._tied_by.items()},
            summed=np.unique(number[np.concatenate([np.empty(0, np.int64), *self._summed])]),
            count=int(number.max()) + 1,
        )

    def _visit(self, layer: Layer, inputs: list[Ids]) -> Ids:
        self._inputs.append(tuple(inputs))
        ids = layer.channels(inputs, self)
        self.outputs.append(ids)
        return ids

    def reads_same_constants(self, a: int, b: int) -> bool:
        """Whether layers a and b read pruned channels that emit the same constants.

        They do when they read one layer, or two that share a kernel (with bias and normalisation)
        and an activation.
        """
        first, second = (self._layers[self._layers[k].sources[0]] for k in (a, b))
        if INPUT in (*self._layers[a].sources, *self._layers[b].sources) or first is second:
            return True
        return first.owner == second.owner and first.activation == second.activation


def channel_graph(layers: Sequence[Layer]) -> ChannelGraph:
    """The channel graph of a network."""
    return GraphBuilder(layers).build()
