"""A network as an ONNX file: the fused graph, its decoding, and what a user of it must know.

The file is one graph, `images` (B, 3, H, W) RGB in 0..1 -> `predictions` (B, N, 5 + nc): xywh in
input pixels, objectness, class probabilities, as `models.Darknet` gives them in evaluation mode.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...command.errors import UserError
from ...command.optional import load, quiet, require
from ...detection.as_the_cfg_says import chosen_fit, chosen_nms
from ...network.darknet import Network, raw_ends
from ...network.layers import Head
from .pooling import merge_padding

OPSET = 18  # what torch's exporter is made for; ONNX Runtime has it since 1.14, OpenVINO since 2023
INPUT_NAME, OUTPUT_NAME = "images", "predictions"
EXPORT_NEEDS = ("onnx", "onnxscript")
_LARGEST_CELLS = 256  # of a side, in a file for any input size


@dataclass(frozen=True)
class OnnxOptions:
    """What the graph is for.

    dynamic: any batch, height and width (multiples of the network's stride); else one image of
    `img_size`. half: weights and activations in float16, input and output in float32. raw: one
    output per head, (B, anchors * entries, H, W), undecoded, named `head0`, `head1`, ...; of a
    network without heads its last value.
    """

    img_size: tuple[int, int]
    dynamic: bool = False
    half: bool = False
    raw: bool = False


class _Exported(nn.Module):
    """The forward pass that the file holds."""

    def __init__(self, network: Network, options: OnnxOptions) -> None:
        super().__init__()
        self.network = network
        self.options = options

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        x = images.half() if self.options.half else images
        if self.options.raw:
            return [raw.float() for raw in raw_ends(self.network, x)]
        if not self.options.half:
            boxes: Tensor = self.network(x)
            return boxes
        # The decoding runs in float32, the size of the input in pixels included.
        size = (images.shape[2], images.shape[3])
        raw = self.network.raw_heads(x)
        heads = zip(self.network.heads, raw, strict=True)
        return torch.cat([head.decode(values.float(), size) for head, values in heads], 1)


def save_onnx(
    network: Network, path: Path, options: OnnxOptions, metadata: Mapping[str, str]
) -> None:
    """Write the graph of a loaded network (it is copied and fused) with its metadata.

    Raises UserError when packages are missing, or torch's exporter refuses the network.
    """
    require(EXPORT_NEEDS, "ONNX export")
    fused = copy.deepcopy(network)
    fused.eval().fuse()
    wrapped = _Exported(fused, options).eval()
    if options.half:
        wrapped.half()
    images = torch.rand(2 if options.dynamic else 1, fused.in_channels, *options.img_size)
    outputs = [f"head{k}" for k in range(len(fused.heads) or 1)] if options.raw else [OUTPUT_NAME]
    shapes = _dynamic_shapes(fused) if options.dynamic else None
    traced = trace(wrapped, (images,), ([INPUT_NAME], outputs), str(network.cfg.source), shapes)
    save_traced(traced, path, metadata)


def trace(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    names: tuple[Sequence[str], Sequence[str]],
    source: str,
    shapes: Any = None,
) -> Any:
    """The `onnx.ModelProto` of a module; `names` are those of its inputs and outputs.

    Raises UserError, which names `source`, where torch's exporter refuses it.
    """
    with quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                module,
                inputs,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(names[0]),
                output_names=list(names[1]),
                dynamic_shapes=shapes,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), "no reason")
            raise UserError(f"{source}: cannot be exported ({reason})") from None
    if program is None:
        raise UserError(f"{source}: cannot be exported")
    return program.model_proto


def _dynamic_shapes(network: Network) -> tuple[dict[int, Any]]:
    """Any batch; height and width in whole cells of the coarsest head."""
    dim = torch.export.Dim
    height, width = (dim(name, min=1, max=_LARGEST_CELLS) for name in ("rows", "columns"))
    stride = network.stride
    return ({0: dim("batch", min=1, max=4096), 2: stride * height, 3: stride * width},)


def save_traced(model: Any, path: Path, metadata: Mapping[str, str]) -> None:
    """Write what `trace` gave: checked, with the metadata, without the exporter's notes.

    They name files of yours.
    """
    onnx = load("onnx")
    graph = model.graph
    for noted in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del noted.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
    del graph.value_info[:]
    merge_padding(model)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def onnx_metadata(network: Network, names: Sequence[str], fit: str = "cfg") -> dict[str, str]:
    """What a user of the file must know, as text (JSON where it has parts)."""
    height, width = network.img_size
    kind = chosen_nms("cfg", network.heads[-1].section)
    heads = [
        {
            "grid": list(head.shape[1:]),
            "stride_px": network.img_size[0] // head.shape[1],
            "anchors_px": _anchors_px(head),
        }
        for head in network.heads
    ]
    preprocessing: dict[str, object] = {
        "layout": "NCHW",
        "channels": "RGB",
        "range": [0, 1],
        "height": height,
        "width": width,
        "fit": chosen_fit(fit, network.cfg),
        "letterbox_grey": 0.5,
    }
    return {
        "names": json.dumps(list(names)),
        "heads": json.dumps(heads),
        "preprocessing": json.dumps(preprocessing),
        "output": "per row: xywh of the box in input pixels, objectness, class probabilities; "
        "score = objectness * class probability",
        "nms": json.dumps({"kind": kind.name, "beta": kind.beta}),
        "opset": str(OPSET),
        "source": Path(network.cfg.source).name,
    }


def _anchors_px(head: Head) -> list[list[float]]:
    """Width and height of each anchor; none for heads without."""
    return [[round(v, 4) for v in pair] for pair in head.anchors_px]
