"""The files of a runtime: made of a loaded network, and opened again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ..detection.evaluate import Predict
from ..network.darknet import Network
from ..network.int8.written import written
from .executorch.program import ExecuTorchNetwork, save_executorch
from .int8 import quantize_onnx, quantize_openvino
from .litert_runtime import LiteRtNetwork, save_litert
from .mnn_runtime import MnnNetwork, mnn_from_onnx, quantize_mnn
from .ncnn_runtime import NcnnNetwork, ncnn_from_onnx
from .onnx.best import append_best, needs_no_nms
from .onnx.export import OnnxOptions, save_onnx
from .onnx.layout_names import Layout
from .onnx.layouts import append_layout
from .onnx.mish import mish_by_exp, mish_by_softplus
from .onnx.nms import append_nms
from .onnx.run import OnnxNetwork
from .opencv_onnx import OpenCVOnnx
from .openvino_runtime import OpenVinoNetwork, openvino_from_onnx, save_openvino
from .options import Format, NmsOptions, Pair, target_files
from .real_images import Images

FROM_TORCH: tuple[Format, ...] = ("litert", "executorch")  # the others are made from ONNX
# What takes the ranges of a network that was finetuned for int8.
FINETUNED: tuple[Format, ...] = ("onnx", "openvino", "litert", "executorch")


@dataclass(frozen=True)
class FileOptions:
    """What the files hold.

    kind: "opencv" is the ONNX file that OpenCV 5 runs. img_size: (height, width) in pixels.
    calibration: images for int8; none: no int8. trained: int8 by the ranges that the network,
    which is on grids, was finetuned with.
    """

    kind: Format | Pair
    img_size: tuple[int, int]
    dynamic: bool = False
    half: bool = False
    calibration: Images = ()
    trained: bool = False
    nms: NmsOptions | None = None
    layout: Layout = "rows"


def write_files(
    network: Network,
    stem: Path,
    options: FileOptions,
    metadata: Mapping[str, str],
    graph: Path | None = None,
) -> None:
    """Make STEM's files of a loaded network. Raises UserError where a converter refuses it.

    graph: an ONNX file of it that is there already, as `graph_options` says it for these options.
    """
    kind, targets = options.kind, target_files(stem, options.kind)
    if options.trained:
        if kind not in FROM_TORCH:  # those write a form of their own
            network = written(network)
        metadata = {**metadata, "int8": "finetuned"}
    if kind == "executorch":
        save_executorch(
            network, targets[0], metadata, list(map(torch.from_numpy, options.calibration))
        )
        return
    if kind == "litert":
        save_litert(network, targets[0], metadata, options.half, options.calibration)
        return
    if graph is None:
        graph = stem.with_name(f"{stem.name}.float.onnx")
        save_onnx(network, graph, graph_options(options), metadata)
    if kind == "ncnn":
        size, channels = options.img_size, network.in_channels
        ncnn_from_onnx(graph, targets[0], size, channels, options.half)
        text = json.dumps({key: metadata[key] for key in sorted(metadata)}, indent=1)
        targets[2].write_text(text, encoding="utf-8")
    elif kind == "openvino":
        model = openvino_from_onnx(graph, metadata)
        if options.calibration:
            model = quantize_openvino(model, options.calibration)
        save_openvino(model, targets[0], options.half)
    elif kind == "mnn":
        _write_mnn(graph, targets[0], options, metadata)
    else:
        _write_onnx(network, graph, targets[0], options)


def graph_options(options: FileOptions) -> OnnxOptions:
    """The ONNX graph that the files are made of."""
    half = options.half and options.kind == "onnx"
    return OnnxOptions(options.img_size, options.dynamic, half, raw=options.kind == "ncnn")


def _write_onnx(network: Network, graph: Path, target: Path, options: FileOptions) -> None:
    if options.calibration:
        quantize_onnx(graph, target, options.calibration)
    else:
        shutil.copyfile(graph, target)
    if options.kind == "onnx" and not options.half:  # OpenCV has a kernel for it
        mish_by_exp(target)
    plain = options.kind == "onnx" and not options.calibration and not options.trained
    if plain and needs_no_nms(network):
        cells = sum(head.shape[1] * head.shape[2] for head in network.heads)
        classes = network.heads[-1].nc
        append_best(target, classes, None if options.dynamic else cells)
    if options.nms:
        nms = options.nms
        append_nms(target, nms.conf_thres, nms.iou_thres, nms.max_per_class)
    append_layout(target, options.layout)


def _write_mnn(
    graph: Path, target: Path, options: FileOptions, metadata: Mapping[str, str]
) -> None:
    plain = target.with_suffix(".float.mnn") if options.calibration else target
    spelled = Path(shutil.copyfile(graph, target.with_suffix(".older.onnx")))
    mish_by_softplus(spelled)  # which MNN's converter does not know
    mnn_from_onnx(spelled, plain, metadata, options.half)
    if options.calibration:
        quantize_mnn(plain, target, options.calibration, metadata)


def open_file(
    kind: Format | Pair, path: Path, network: Network, threads: int | None = None
) -> Predict:
    """Run a file by the runtime that it is for; the network takes the class names that it tells."""
    if kind == "ncnn":
        return NcnnNetwork(path, network, threads)
    if kind == "openvino":
        return OpenVinoNetwork(path, threads)
    opened: OnnxNetwork | OpenCVOnnx | MnnNetwork | LiteRtNetwork | ExecuTorchNetwork
    if kind == "mnn":
        opened = MnnNetwork(path, threads)
    elif kind == "executorch":
        opened = ExecuTorchNetwork(path, network)
    elif kind == "litert":
        opened = LiteRtNetwork(path, network, threads)
    elif kind == "opencv":
        opened = OpenCVOnnx(path)
    else:
        opened = OnnxNetwork(path, threads)
    network.names = opened.names or network.names
    return opened
