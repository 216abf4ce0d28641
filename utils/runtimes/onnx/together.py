"""Small networks as ONNX files by one export: however small they are, each would take seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...command.optional import load, require
from ...network.darknet import Network, raw_ends
from .export import EXPORT_NEEDS, INPUT_NAME, OUTPUT_NAME, save_traced, trace


class _Together(nn.Module):
    """Each network on an input of its own."""

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)  # type: ignore[arg-type]

    def forward(self, *images: Tensor) -> list[Tensor]:
        pairs = zip(self.networks, images, strict=True)
        return [raw_ends(network, x)[0] for network, x in pairs]  # type: ignore[arg-type]


def save_together(networks: Sequence[Network], paths: Sequence[Path]) -> None:
    """Write a graph for each network of one output, which is fused in place, at its own size.

    Raises UserError when packages are missing, or torch's exporter refuses one of them.
    """
    require(EXPORT_NEEDS, "ONNX export")
    images = tuple(torch.rand(1, each.in_channels, *each.img_size) for each in networks)
    count = range(len(networks))
    names = [f"in{k}" for k in count], [f"out{k}" for k in count]
    whole = _Together([each.eval().fuse() for each in networks]).eval()
    traced = trace(whole, images, names, str(networks[0].cfg.source))
    for number, path in enumerate(paths):
        save_traced(_part(traced, number), path, {})


def _part(traced: Any, number: int) -> Any:
    """The nodes behind one output, as a model of its own with the usual names."""
    onnx, graph = load("onnx"), traced.graph
    made_by = {name: node for node in graph.node for name in node.output}
    wanted, waiting = set[int](), [f"out{number}"]
    read = set(waiting)
    while waiting:
        node = made_by.get(waiting.pop())
        if node is not None and id(node) not in wanted:
            wanted.add(id(node))
            read.update(node.input)
            waiting += node.input
    part = onnx.ModelProto()
    part.CopyFrom(traced)
    for field in ("node", "input", "output", "initializer"):
        del getattr(part.graph, field)[:]
    part.graph.node.extend(node for node in graph.node if id(node) in wanted)
    for field in ("input", "output", "initializer"):
        found = [each for each in getattr(graph, field) if each.name in read]
        getattr(part.graph, field).extend(found)
    _rename(part.graph, {f"in{number}": INPUT_NAME, f"out{number}": OUTPUT_NAME})
    return part


def _rename(graph: Any, names: dict[str, str]) -> None:
    for node in graph.node:
        for field in (node.input, node.output):
            field[:] = [names.get(name, name) for name in field]
    for entry in (*graph.input, *graph.output):
        entry.name = names.get(entry.name, entry.name)
