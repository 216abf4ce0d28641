"""Networks that differ from a layer on: what comes before it is computed once for all of them.

A cut changes nothing before the first layer that loses channels, so that the values there are those
of the uncut network, for each of the shares that a group is cut to. Groups are taken by their first
layer: then the values before a group follow from those before the last one, and the front of the
network is run once in all.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...network.darknet import Network
from ...network.layers import INPUT, Head, Layer

MOST_BYTES = 1 << 30  # of the values that are kept for all batches
_FLOAT_BYTES = 4

Values = dict[int, Tensor]


class Front:
    """What the uncut network computes up to some layer, for a list of batches."""

    def __init__(self, network: Network, inputs: Sequence[Tensor], most_bytes: int = MOST_BYTES):
        """`network`: fused, in eval mode, where the inputs are: (B, C, H, W) each."""
        self._network = network
        self._most_bytes = most_bytes
        self.lengths = [len(batch) for batch in inputs]
        self.place = 0  # the first layer that has not run
        self.values: list[Values] = [{INPUT: batch} for batch in inputs]
        self.raw: list[list[Tensor]] = [[] for _ in inputs]  # of heads that have run

    @torch.no_grad()
    def advance(self, layer: int) -> None:
        """Run up to `layer`, without it; less far where the values would take too much memory."""
        reachable = range(layer, self.place, -1)
        place = next((p for p in reachable if self._bytes(p) <= self._most_bytes), self.place)
        for values, raw in zip(self.values, self.raw, strict=True):
            raw += run_layers(self._network, values, self.place, place)
        self.place = place

    def _bytes(self, place: int) -> int:
        rules = self._network.rules
        needed = {source for rule in rules[place:] for source in rule.sources if source < place}
        shapes = [rules[0].inputs[0] if s == INPUT else rules[s].shape for s in needed]
        return sum(self.lengths) * _FLOAT_BYTES * sum(c * h * w for c, h, w in shapes)


class Tail(nn.Module):
    """A network run from where a `Front` has come to; it takes the number of a batch."""

    def __init__(self, network: Network, front: Front) -> None:
        """`network` has the front's layers, and is the same up to its place."""
        super().__init__()
        self._layers = network.layers  # so that its modules are this one's
        self._network = network
        self._front = front

    def forward(self, batch: BatchNumber) -> list[Tensor]:
        """The raw heads of a batch, in any mode."""
        values = dict(self._front.values[batch.number])
        place = self._front.place
        later = run_layers(self._network, values, place, len(self._network.rules))
        return [*self._front.raw[batch.number], *later]


class BatchNumber:
    """Which batch of a front is meant, and how many images it has: its length."""

    def __init__(self, number: int, images: int) -> None:
        self.number = number
        self._images = images

    def __len__(self) -> int:
        return self._images


def numbered(front: Front) -> list[BatchNumber]:
    """All batches of a front."""
    return [BatchNumber(number, images) for number, images in enumerate(front.lengths)]


def run_layers(network: Network, values: Values, start: int, stop: int) -> list[Tensor]:
    """Run the layers from `start` up to `stop`, without it; what the heads among them read.

    `values` holds what these layers read, and afterwards what those from `stop` on do.
    """
    last = _last_readers(network.rules)
    raw: list[Tensor] = []
    for rule in network.rules[start:stop]:
        inputs = [values[source] for source in rule.sources]
        if isinstance(rule, Head):
            raw.append(rule.raw(inputs))
        if rule.index in last:
            values[rule.index] = rule.forward(network.layers[rule.owner], inputs)
        for source in set(rule.sources):
            if last[source] == rule.index:
                del values[source]
    return raw


def _last_readers(rules: Sequence[Layer]) -> dict[int, int]:
    return {source: rule.index for rule in rules for source in rule.sources}
