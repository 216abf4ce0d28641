"""The files of an export: made of a loaded network, and opened again by their own runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...detection.evaluate import Predict
from ...network.darknet import Network
from ..int8 import quantize_onnx, quantize_openvino
from ..ncnn_runtime import NcnnNetwork, ncnn_from_onnx
from ..onnx.export import OnnxOptions, save_onnx
from ..onnx.nms import append_nms
from ..onnx.run import OnnxNetwork
from ..opencv_onnx import OpenCVOnnx
from ..openvino_runtime import OpenVinoNetwork, openvino_from_onnx, save_openvino
from ..options import Format, Pair
from ..real_images import Images
from .options import NmsOptions, target_files


@dataclass(frozen=True)
class FileOptions:
    """What the files hold: `ExportOptions` after a look at the network and the data.

    kind: "opencv" is the ONNX file that OpenCV 5 runs. img_size: (height, width) in pixels.
    calibration: images for int8; none: no int8.
    """

    kind: Format | Pair
    img_size: tuple[int, int]
    dynamic: bool = False
    half: bool = False
    calibration: Images = ()
    nms: NmsOptions | None = None


def write_files(
    network: Network, stem: Path, options: FileOptions, metadata: Mapping[str, str]
) -> None:
    """Make STEM's files of a loaded network. Raises UserError where a converter refuses it."""
    kind = options.kind
    onnx_path = stem.with_name(f"{stem.name}.float.onnx")
    graph = OnnxOptions(
        options.img_size, options.dynamic, options.half and kind == "onnx", raw=kind == "ncnn"
    )
    save_onnx(network, onnx_path, graph, metadata)
    targets = target_files(stem, kind)
    if kind == "ncnn":
        size, channels = options.img_size, network.in_channels
        ncnn_from_onnx(onnx_path, targets[0], size, channels, options.half)
        text = json.dumps({key: metadata[key] for key in sorted(metadata)}, indent=1)
        targets[2].write_text(text, encoding="utf-8")
    elif kind == "openvino":
        model = openvino_from_onnx(onnx_path, metadata)
        if options.calibration:
            model = quantize_openvino(model, options.calibration)
        save_openvino(model, targets[0], options.half)
    else:
        if options.calibration:
            quantize_onnx(onnx_path, targets[0], options.calibration)
        else:
            onnx_path.replace(targets[0])
        if options.nms:
            nms = options.nms
            append_nms(targets[0], nms.conf_thres, nms.iou_thres, nms.max_per_class)


def open_exported(
    kind: Format | Pair, stem: Path, network: Network, threads: int | None = None
) -> Predict:
    """Run the files of an export."""
    path = target_files(stem, kind)[0]
    if kind == "onnx":
        return OnnxNetwork(path, threads)
    if kind == "opencv":
        return OpenCVOnnx(path)
    if kind == "openvino":
        return OpenVinoNetwork(path, threads)
    return NcnnNetwork(path, network, threads)
