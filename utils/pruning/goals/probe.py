"""A network's layers as files of one runtime, to be timed where there is nothing but that runtime.

A folder: the files, and probe.json, which says what each is. benchmarks/latency_probe.py times them
and writes the table of `table_file.py`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import cast

import numpy as np

from ...cfg import Cfg, plain_text
from ...command.progress import progress_bar
from ...detection.options import Inputs
from ...network.cfg_of import read_cfg
from ...network.darknet import Build, Network
from ...network.graph import channel_graph
from ...network.layers import Layer
from ...runtimes.files import FROM_TORCH, FileOptions, write_files
from ...runtimes.needs import of_any_bits, opencv_reads_cfg
from ...runtimes.onnx.together import save_together
from ...runtimes.options import Format, Pair, target_files
from ..sensitivity.caps import cfg_hash
from .latency import Grid, distinct_layers, grid_of, layer_alone

FORMAT, VERSION, NAME = "darkslim latency probe", 1, "probe.json"
_SHARES = (0.0, 0.25, 0.5, 1.0)  # of a layer's channels: each pair of counts is a file
_NOISE = 2  # images that the ranges of int8 are from, which change no time


def write_probe(model: Inputs, runtime: str, build: Build, folder: Path) -> int:
    """Write a probe of a model for one of `RUNTIMES` into a folder that is there; its files' count.

    `build` is `models.Darknet`. Raises UserError for what the runtime's converter refuses.
    """
    network: Network = build(read_cfg(model.cfg), model.img_size, weights=model.weights)
    graph = channel_graph(network.rules)
    layers, count = [], 1
    for number, equal in enumerate(progress_bar(distinct_layers(graph), "probe", "layer")):
        grid = grid_of(graph, equal[0], _SHARES)
        written = _layer(folder, f"{number}", equal[0], network.cfg, grid, runtime, build)
        files = [[written[pair] for pair in row] for row in grid.rows]
        count += len(written)
        layers.append({
            "layers": [layer.index for layer in equal], "inputs": grid.inputs,
            "outputs": grid.outputs, "tied": grid.tied, "files": files,
        })  # fmt: skip
    content = {
        "format": FORMAT, "version": VERSION, "cfg_sha256": cfg_hash(network.cfg),
        "img_hw": network.img_size, "runtime": runtime, "layers": layers,
        "whole": _written(network.answering_(), folder / "whole", runtime),
    }  # fmt: skip
    (folder / NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return count


def _layer(
    folder: Path, name: str, layer: Layer, cfg: Cfg, grid: Grid, runtime: str, build: Build
) -> dict[tuple[int, int], dict[str, object]]:
    """A layer's files, by its counts of input and output channels."""
    _, height, width = layer.inputs[0]
    pairs = [pair for row in grid.rows for pair in row]
    alone: list[Network] = [
        build(layer_alone(layer, cfg, *pair), (height, width)).eval() for pair in pairs
    ]
    stems = [folder / f"{name}-{a}-{b}" for a, b in pairs]
    with tempfile.TemporaryDirectory() as scratch:
        graphs: list[Path] | list[None] = [None] * len(alone)
        if _from_onnx(runtime):
            graphs = [Path(scratch) / f"{number}.onnx" for number in range(len(alone))]
            save_together(alone, graphs)
        made = zip(pairs, alone, stems, graphs, strict=True)
        return {pair: _written(net, stem, runtime, graph) for pair, net, stem, graph in made}


def _from_onnx(runtime: str) -> bool:
    kind = of_any_bits(runtime)
    return kind not in FROM_TORCH and not (kind == "opencv" and opencv_reads_cfg())


def _written(
    network: Network, stem: Path, runtime: str, graph: Path | None = None
) -> dict[str, object]:
    """The file of a network, and the shape of what goes in."""
    kind = cast(Format | Pair, of_any_bits(runtime))
    shape = (1, network.in_channels, *network.img_size)
    targets = target_files(stem, kind)
    if kind == "opencv" and opencv_reads_cfg():
        targets[0].write_text(plain_text(network.cfg), encoding="ascii", errors="replace")
        network.save_weights(targets[1])
        return {"file": targets[0].name, "shape": shape}
    noise = np.random.default_rng(0).random((_NOISE, *shape), np.float32)
    images = list(noise) if kind != runtime else ()
    options = FileOptions(kind, network.img_size, calibration=images)
    with tempfile.TemporaryDirectory() as name:  # converters leave more than what they are asked
        write_files(network, Path(name) / stem.name, options, {}, graph)
        for target in targets:
            shutil.move(Path(name) / target.name, target)
    return {"file": targets[0].name, "shape": shape}
