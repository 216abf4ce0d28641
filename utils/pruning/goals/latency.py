"""How long the layers of a network take at other widths: measured once, then looked up.

Every distinct layer with a kernel runs alone at a few widths of its input and its output; between
these, times are interpolated. Alone they do not add up to the network's time (pools, sums and
attention are missing, memory is warmer), so the sum is scaled to that of the whole network, which
is measured as well. All times are of the fastest tenth of the runs, which other programs disturb
least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ...cfg import Cfg, new_section, remove_option
from ...command.machine.timing import Latency, time_forward_ms
from ...command.progress import progress_bar
from ...network.graph import ChannelGraph, Mask
from ...network.layers import Layer
from ...network.weights import State
from ...runtimes.options import Pass

Times = NDArray[np.float64]


class MakePass(Protocol):
    """Builds one forward pass of a cfg for images of a height and width; random without a state."""

    def __call__(self, cfg: Cfg, img_hw: tuple[int, int], state: State | None = None) -> Pass: ...


SHARES = (0.0, 0.125, 0.25, 0.5, 1.0)  # of a layer's channels; at least one
_RUNS, _WARMUP = 7, 2


@dataclass(frozen=True)
class WidthTimes:
    """`times_ms[a, b]` of a layer with `inputs[a]` input and `outputs[b]` output channels.

    With `tied` widths (groups) there is one row: the outputs alone say how wide it is.
    """

    inputs: Times
    outputs: Times
    times_ms: Times
    tied: bool = False

    def at(self, inputs: int, outputs: int) -> float:
        """Milliseconds at these counts of channels, bilinear between those measured."""
        columns = np.array([np.interp(outputs, self.outputs, row) for row in self.times_ms])
        return float(columns[0] if self.tied else np.interp(inputs, self.inputs, columns))


@dataclass(frozen=True)
class LatencyTable:
    """Times of every layer with a kernel, and of the whole network before pruning."""

    graph: ChannelGraph
    layers: Mapping[int, WidthTimes]
    whole: Latency

    @property
    def shapes(self) -> int:
        """How many different layers were measured."""
        return len({id(times) for times in self.layers.values()})

    @property
    def alone_ms(self) -> float:
        """What the unpruned layers take one by one."""
        keep = np.ones(self.graph.count, bool)
        return sum(self.layer_ms(index, keep) for index in self.layers)

    def layer_ms(self, index: int, keep: Mask) -> float:
        """What a layer takes alone when the classes in `keep` stay."""
        graph = self.graph
        inputs, outputs = keep[graph.inputs[index][0]].sum(), keep[graph.outputs[index]].sum()
        return self.layers[index].at(int(inputs), int(outputs))

    def sum_ms(self, keep: Mask, gone: Mapping[int, object] | None = None) -> float:
        """What the network takes without the layers `gone`, going by the table."""
        left = (index for index in self.layers if index not in (gone or {}))
        return sum(self.layer_ms(index, keep) for index in left) * self.scale

    @property
    def scale(self) -> float:
        """The network's time over the sum of its layers' own."""
        return self.whole.p10_ms / self.alone_ms


def measure_table(graph: ChannelGraph, cfg: Cfg, whole: Pass, make_pass: MakePass) -> LatencyTable:
    """Time `whole`, the pass of the network, and each of its layers; equal shapes only once."""
    times: dict[int, WidthTimes] = {}
    for equal in progress_bar(distinct_layers(graph), "latency table", "layer"):
        times |= dict.fromkeys(
            (layer.index for layer in equal), _width_times(graph, equal[0], cfg, make_pass)
        )
    return LatencyTable(graph, times, time_forward_ms(whole, runs=2 * _RUNS, warmup=_WARMUP + 1))


def _shape_key(graph: ChannelGraph, layer: Layer) -> tuple[object, ...]:
    """Equal for layers that take equally long at all widths."""
    options = {key: layer.section.text(key) for key in layer.section.options}
    return layer.inputs[0], layer.kind, tuple(sorted(options.items())), _pinned(graph, layer)


def _pinned(graph: ChannelGraph, layer: Layer) -> tuple[bool, bool]:
    """Whether all input channels, and all output channels, must stay."""
    inputs, outputs = graph.inputs[layer.index][0], graph.outputs[layer.index]
    return tuple(all(c in graph.pinned for c in ids.tolist()) for ids in (inputs, outputs))  # type: ignore[return-value]


@dataclass(frozen=True)
class Grid:
    """The widths at which a layer is timed; `rows` hold pairs of input and output channels.

    With `tied` widths (groups) there is one row: the outputs alone say how wide it is.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    rows: tuple[tuple[tuple[int, int], ...], ...]
    tied: bool


def grid_of(graph: ChannelGraph, layer: Layer, shares: Sequence[float] = SHARES) -> Grid:
    """The widths of a layer that are timed: `shares` of what may go, and all of what may not."""
    counts = layer.inputs[0][0], layer.shape[0]
    if layer.groups > 1:
        pairs = _tied_widths(*counts, layer.groups, shares)
        by_outputs = {outputs: inputs for inputs, outputs in pairs}
        row = tuple((a, b) for b, a in by_outputs.items())
        return Grid(tuple(by_outputs.values()), tuple(by_outputs), (row,), True)
    inputs, outputs = (
        (count,) if pinned else _widths(count, shares)
        for count, pinned in zip(counts, _pinned(graph, layer), strict=True)
    )
    return Grid(inputs, outputs, tuple(tuple((a, b) for b in outputs) for a in inputs), False)


def layer_alone(layer: Layer, cfg: Cfg, inputs: int, outputs: int) -> Cfg:
    """A layer as the only one of a network, at these counts of channels; its input's size."""
    channels, height, width = layer.inputs[0]
    masks = [torch.arange(channels) < inputs], torch.arange(layer.shape[0]) < outputs
    section = remove_option(layer.rewrite(*masks), "share_index")
    net = new_section("net", cfg.source, 0, width=width, height=height, channels=inputs)
    return Cfg(net, (section,))


def is_timed(layer: Layer) -> bool:
    """Whether a layer is timed alone. One of several inputs (attention) counts as pools do."""
    return bool(layer.macs()) and len(layer.inputs) == 1


def distinct_layers(graph: ChannelGraph) -> list[list[Layer]]:
    """Layers that are timed; those that take equally long at all widths stand together."""
    together: dict[tuple[object, ...], list[Layer]] = {}
    for layer in graph.layers:
        if is_timed(layer):
            together.setdefault(_shape_key(graph, layer), []).append(layer)
    return list(together.values())


def _width_times(graph: ChannelGraph, layer: Layer, cfg: Cfg, make_pass: MakePass) -> WidthTimes:
    grid, (_, *img_hw) = grid_of(graph, layer), layer.inputs[0]

    def time_ms(inputs: int, outputs: int) -> float:
        run = make_pass(layer_alone(layer, cfg, inputs, outputs), (img_hw[0], img_hw[1]))
        return time_forward_ms(run, runs=_RUNS, warmup=_WARMUP).p10_ms

    times_ms = np.array([[time_ms(*pair) for pair in row] for row in grid.rows])
    # A wider layer takes no less time; what says otherwise is noise.
    for axis in (0, 1):
        times_ms = np.maximum.accumulate(times_ms, axis)
    return WidthTimes(
        np.array(grid.inputs, float), np.array(grid.outputs, float), times_ms, grid.tied
    )


def _widths(count: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Ascending counts of channels to measure at."""
    return tuple(sorted({max(1, round(count * share)) for share in shares}))


def _tied_widths(
    inputs: int, outputs: int, groups: int, shares: Sequence[float]
) -> list[tuple[int, int]]:
    """Ascending pairs; with `groups` of several channels, whole multiples of them."""
    if inputs == groups:  # depthwise: the groups themselves go
        return [(count, count * (outputs // inputs)) for count in _widths(inputs, shares)]
    pairs = [
        (max(1, round(inputs // groups * s)), max(1, round(outputs // groups * s))) for s in shares
    ]
    return [(groups * a, groups * b) for a, b in pairs]
