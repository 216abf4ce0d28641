"""A network as an ExecuTorch program, lowered from PyTorch to XNNPACK, and run by ExecuTorch.

Programs end with the heads' raw input, which is decoded here as an application does it: what the
decoding needs is not XNNPACK's. int8 is by grids of our own, as `train.py --int8` finetunes them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...command.errors import UserError
from ...command.files import require_file
from ...command.muted import muted
from ...command.optional import load
from ...network.darknet import Network, raw_ends
from ...network.int8.convert import measure_ranges, put_on_grids
from ...network.int8.written import XNNPACK_FORM, written
from ..onnx.metadata import stated_entries, stated_names

_METADATA = "darkslim"  # a method of the program that gives our metadata as text


class _Heads(nn.Module):
    """The forward pass of the file."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> list[Tensor]:
        return raw_ends(self.network, images)


def save_executorch(
    network: Network, path: Path, metadata: Mapping[str, str], calibration: Sequence[Tensor] = ()
) -> None:
    """Write a loaded network for images of its size, one at a time.

    calibration: images (1, C, H, W) for int8; a network on grids is written in int8 as it is.
    Raises UserError where ExecuTorch refuses the network.
    """
    made = copy.deepcopy(network).eval()
    if calibration:
        put_on_grids(made)
        measure_ranges(made, calibration)
    wrapped = _Heads(written(made, XNNPACK_FORM) if made.grids else made.fuse()).eval()
    images = torch.rand(1, made.in_channels, *made.img_size)
    with muted(), torch.no_grad():  # they say what of theirs does not load
        lower = load("executorch.exir").to_edge_transform_and_lower
        parts = load("executorch.backends.xnnpack.partition.xnnpack_partitioner").XnnpackPartitioner
        try:
            exported = torch.export.export(wrapped, (images,))
            _parts_on_its_grid(exported)
            _one_reader_each(exported)
            methods = {_METADATA: json.dumps(dict(metadata))}
            edge = lower(exported, partitioner=[parts()], constant_methods=methods)
            program = edge.to_executorch().buffer
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), "no reason")
            raise UserError(f"{network.cfg.source}: ExecuTorch cannot take it ({reason})") from None
    path.write_bytes(program)


def _parts_on_its_grid(program: Any) -> None:
    """What is put side by side lies on the grid of the whole first: XNNPACK has no other way."""
    graph, ops = program.graph_module.graph, torch.ops.quantized_decomposed
    for node in list(graph.nodes):
        readers = list(node.users)
        if node.target is not torch.ops.aten.cat.default or len(readers) != 1:
            continue
        if readers[0].target is not ops.quantize_per_tensor.default:
            continue
        told = readers[0].args[1:]
        parts = []
        for part in node.args[0]:
            with graph.inserting_before(node):
                steps = graph.call_function(ops.quantize_per_tensor.default, (part, *told))
                parts.append(graph.call_function(ops.dequantize_per_tensor.default, (steps, *told)))
                steps.meta, parts[-1].meta = dict(readers[0].meta), dict(part.meta)
                steps.meta["val"] = part.meta["val"].to(readers[0].meta["val"].dtype)
        node.args = (parts, *node.args[1:])
    program.graph_module.recompile()


def _one_reader_each(program: Any) -> None:
    """A dequantize of its own for each that reads it, as XNNPACK's partitioner wants them.

    It takes each with its reader into one part: shared ones would tie parts into circles.
    """
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target is torch.ops.quantized_decomposed.dequantize_per_tensor.default:
            for reader in list(node.users)[1:]:
                with graph.inserting_before(reader):
                    own = graph.node_copy(node)
                reader.replace_input_with(node, own)
    program.graph_module.recompile()


class ExecuTorchNetwork:
    """`model(x)`: images (B, 3, H, W) in 0..1 -> (B, N, 5 + nc), as `Darknet` in eval mode gives.

    `network` decodes the heads. Raises UserError for a file that ExecuTorch cannot open.
    """

    def __init__(self, path: str | Path, network: Network) -> None:
        self._source = require_file(path, "the ExecuTorch program")
        self._network = network
        with muted():
            runtime = load("executorch.runtime")
            try:
                self._program = runtime.Runtime.get().load_program(self._source.read_bytes())
                self._run = self._program.load_method("forward")
            except (RuntimeError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise UserError(f"{self._source}: ExecuTorch cannot open it ({reason})") from None
        told = self._run.metadata
        heads = len(network.heads)
        if told.num_inputs() != 1 or told.num_outputs() != heads:
            raise UserError(f"{self._source}: no program of {heads} heads, as export.py writes")
        self._shape = list(told.input_tensor_meta(0).sizes())

    @property
    def names(self) -> tuple[str, ...] | None:
        """Class names of the file's metadata, if it has any."""
        if _METADATA not in self._program.method_names:
            return None
        text: Any = self._program.load_method(_METADATA).execute([])[0]
        return stated_names(stated_entries(text).get("names"))

    def __call__(self, images: Tensor) -> Tensor:
        """Boxes (B, N, 5 + nc) float32 on the CPU.

        Raises UserError for another size of image, and where ExecuTorch fails.
        """
        x = images.detach().to("cpu", torch.float32).contiguous()
        if list(x.shape[1:]) != self._shape[1:]:
            raise UserError(
                f"{self._source}: is made for {self._shape[3]}x{self._shape[2]} pixels, not for "
                f"{x.shape[3]}x{x.shape[2]} (--img-size)"
            )
        return torch.cat([self._boxes(part) for part in torch.split(x, 1)])

    def _boxes(self, image: Tensor) -> Tensor:
        try:
            found = self._run.execute([image])
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self._source}: ExecuTorch cannot run it ({reason})") from None
        size = (image.shape[2], image.shape[3])
        heads = zip(self._network.heads, found, strict=True)
        # Copies: the next call overwrites the runtime's own buffers.
        return torch.cat([head.decode(values.clone(), size) for head, values in heads], 1)
