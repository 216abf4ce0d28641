"""Post-training quantization to 8 bits, with images to calibrate on.

ONNX: ONNX Runtime's static quantization (QDQ, a scale per channel of a kernel). OpenVINO: NNCF.
The decoding stays in float: pixels and probabilities in one tensor leave no scale for both.

ONNX kernels have 7 bits, in -64..64: with 8, a processor with AVX2 and no VNNI adds pairs of
products in 16 bits and cuts off what has no room, without a word; with 7 every processor is right.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..command.optional import INT8_NEEDS, load, quiet, require
from .onnx.export import INPUT_NAME
from .real_images import Images


def quantize_onnx(source: Path, target: Path, images: Images) -> None:
    """Write the int8 graph of a float32 ONNX file with one input; the metadata comes along."""
    require(INT8_NEEDS["onnx"], "int8 for ONNX")
    onnx, quantization = load("onnx"), load("onnxruntime.quantization")
    model = onnx.load(str(source))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    with quiet():
        quantization.quantize_static(
            str(source),
            str(target),
            _reader(quantization, images),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            nodes_to_exclude=decoding_nodes(model),
        )
    quantized = onnx.load(str(target))
    del quantized.metadata_props[:]
    onnx.helper.set_model_props(quantized, {**metadata, "int8": f"{len(images)} images"})
    onnx.save(quantized, str(target))


def quantize_openvino(model: Any, images: Images) -> Any:
    """The int8 version of an `openvino.Model` with one input, by NNCF."""
    require(INT8_NEEDS["openvino"], "int8 for OpenVINO")
    nncf = load("nncf")
    with quiet():
        return nncf.quantize(
            model,
            nncf.Dataset(list(images)),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(names=_openvino_decoding(model), validate=False),
        )


def decoding_nodes(model: Any) -> list[str]:
    """Names of the nodes between the heads' convolutions and the output of an `onnx.ModelProto`."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    waiting = [output.name for output in model.graph.output]
    found: dict[str, None] = {}
    while waiting:
        node = made_by.get(waiting.pop())
        if node is not None and node.op_type != "Conv" and node.name not in found:
            found[node.name] = None
            waiting += list(node.input)
    return list(found)


def _openvino_decoding(model: Any) -> list[str]:
    """The same of an `openvino.Model`."""
    waiting = [result.get_node() if hasattr(result, "get_node") else result
               for result in model.get_results()]  # fmt: skip
    found: dict[str, None] = {}
    while waiting:
        node = waiting.pop()
        name = node.get_friendly_name()
        if node.get_type_name() in ("Convolution", "GroupConvolution") or name in found:
            continue
        if node.get_type_name() not in ("Constant", "Parameter", "Result"):
            found[name] = None
        waiting += [value.get_node() for value in node.input_values()]
    return list(found)


def _reader(quantization: Any, images: Images) -> Any:
    """ONNX Runtime asks for the images one by one, then for None."""

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(self.left, None)
            return None if image is None else {INPUT_NAME: image}

    return Reader()
