"""Between a latency table and its file: what is read must be of the network at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ...cfg import Cfg
from ...command.errors import UserError
from ...command.machine.timing import Latency
from ...network.graph import ChannelGraph
from ..sensitivity.caps import cfg_hash
from .latency import LatencyTable, WidthTimes, is_timed
from .table_file import LayerTimes, TableFile, read_table_file


def as_file(
    table: LatencyTable, cfg: Cfg, img_hw: tuple[int, int], runtime: str, device: str
) -> TableFile:
    """A table as plain values; layers of one shape, which were timed once, stand together."""
    together: dict[int, list[int]] = {}
    for index, times in table.layers.items():
        together.setdefault(id(times), []).append(index)
    whole = table.whole
    return TableFile(
        cfg_hash(cfg),
        img_hw,
        runtime,
        device,
        {"median": whole.median_ms, "p10": whole.p10_ms, "p90": whole.p90_ms},
        tuple(_entry(indices, table.layers[indices[0]]) for indices in together.values()),
    )


def _entry(indices: Iterable[int], times: WidthTimes) -> LayerTimes:
    return LayerTimes(
        tuple(indices),
        tuple(int(count) for count in times.inputs),
        tuple(int(count) for count in times.outputs),
        tuple(tuple(float(each) for each in row) for row in times.times_ms),
        times.tied,
    )


def read_matching_table(
    path: str | Path, graph: ChannelGraph, cfg: Cfg, img_hw: tuple[int, int]
) -> tuple[LatencyTable, TableFile]:
    """The table of a file, for this network at this input size.

    Raises UserError for a file of another network or size, and one that leaves layers out.
    """
    found = read_table_file(path)
    if found.cfg_sha256 != cfg_hash(cfg):
        raise UserError(
            f"--latency-table {path}: is of another network (its cfg differs by sha256); "
            "latency_table.py measures this one's"
        )
    if found.img_hw != img_hw:
        (height, width), (our_height, our_width) = found.img_hw, img_hw
        raise UserError(
            f"--latency-table {path}: is of images of {width}x{height} px, the network takes "
            f"{our_width}x{our_height}: give --img-size, or measure again"
        )
    times = {index: _width_times(each) for each in found.layers for index in each.layers}
    _require_layers(path, graph, times)
    whole = found.whole_ms
    latency = Latency(whole["median"], whole["p10"], whole["p90"])
    return LatencyTable(graph, times, latency), found


def _width_times(entry: LayerTimes) -> WidthTimes:
    times_ms = np.array(entry.times_ms, float)
    # A wider layer takes no less time; what says otherwise is noise.
    for axis in (0, 1):
        times_ms = np.maximum.accumulate(times_ms, axis)
    inputs, outputs = np.array(entry.inputs, float), np.array(entry.outputs, float)
    return WidthTimes(inputs, outputs, times_ms, entry.tied)


def _require_layers(path: str | Path, graph: ChannelGraph, times: Mapping[int, WidthTimes]) -> None:
    """Raise UserError unless each layer with a kernel, and no other, is there at its full width."""
    timed = {layer.index: layer for layer in graph.layers if is_timed(layer)}
    for index in sorted(set(timed) ^ set(times)):
        what = "has no times of" if index in timed else "times"
        why = "" if index in timed else ", which has no kernel here"
        raise UserError(f"--latency-table {path}: {what} layer {index}{why}")
    for index, layer in timed.items():
        full = layer.inputs[0][0], layer.shape[0]
        if (times[index].inputs[-1], times[index].outputs[-1]) != full:
            raise UserError(
                f"--latency-table {path}: layer {index} is to be timed up to its full width, "
                f"{full[0]} channels in and {full[1]} out"
            )
