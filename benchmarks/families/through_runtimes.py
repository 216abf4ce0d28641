"""Raw heads of a subject by each runtime that takes it, against its own program's in float64."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models import Darknet
from utils.command.errors import UserError
from utils.command.optional import load
from utils.network.darknet import names_of
from utils.network.importers import require_darknet, require_opencv
from utils.runtimes.mnn_runtime import mnn_from_onnx
from utils.runtimes.ncnn_runtime import NcnnNetwork, ncnn_from_onnx
from utils.runtimes.needs import opencv_reads_cfg
from utils.runtimes.onnx.export import OnnxOptions, onnx_metadata, save_onnx
from utils.runtimes.opencv import OpenCVDarknet
from utils.runtimes.opencv_onnx import OpenCVOnnx
from utils.translate.bn_export import for_export

from .subject import ROOT, Subject, broken

_SECONDS = 600


@torch.no_grad()
def own_float32(subject: Subject) -> str:
    """Of its own program, beside its float64."""
    return f"{float(subject.kept['own_error']):.1e}"


@torch.no_grad()
def pytorch(subject: Subject) -> str:
    """Of our network."""
    return f"{subject.error(subject.network().raw_heads(subject.picture)):.1e}"


@torch.no_grad()
def control(subject: Subject) -> str:
    """Of a network with one rule broken: it must be seen."""
    cfg, state = broken(subject.translated)
    network = Darknet(cfg, weights=state).eval()
    return f"{subject.error(network.raw_heads(subject.picture)):.1e}"


def darknet(subject: Subject) -> str:
    """Of AlexeyAB's program, level by level, in a process of its own: it ends when it refuses."""
    if not subject.settings.darknet:
        return ""
    try:
        require_darknet(subject.network().rules)
    except UserError:
        return "refused here"
    cfg, weights = subject.written()
    images, found = (cfg.with_suffix(suffix) for suffix in (".input.npy", ".found.npz"))
    np.save(images, subject.picture.numpy())
    files = (cfg, weights, images, found)
    words = [subject.settings.darknet, *(str(path.resolve()) for path in files)]
    command = [sys.executable, "-m", "benchmarks.families.darknet_levels", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return f"fails: {lines[-1] if lines else done.returncode}"[:80]
    with np.load(found, allow_pickle=False) as file:
        arrays = [torch.from_numpy(file[f"level{k}"]) for k in range(len(file.files))]
    pairs = zip(arrays, subject.exact, strict=True)
    return f"{subject.error([array.view(wanted.shape) for array, wanted in pairs]):.1e}"


def opencv_by_cfg(subject: Subject) -> str:
    """Of OpenCV's importer of Darknet's files, as translate.py writes them without a flag."""
    if not opencv_reads_cfg():
        return "needs OpenCV 4"
    network = subject.network()
    try:
        require_opencv(network.rules)
    except UserError:
        return "refused here"
    cfg, state = for_export(network.cfg, network.state_dict(), "pow2")
    path = subject.settings.folder / "opencv.weights"
    Darknet(cfg, weights=state).save_weights(path)
    return f"{subject.error(OpenCVDarknet(cfg, path).head_outputs(subject.picture)):.1e}"


def by_onnx(run: Callable[[Path, Subject], list[Tensor]]) -> Callable[[Subject], str]:
    """A cell of a runtime that reads the file of raw heads."""

    def cell(subject: Subject) -> str:
        path = subject.settings.folder / f"{subject.name.replace(' ', '-')}.onnx"
        if not path.is_file():
            network = subject.network()
            options = OnnxOptions(subject.size, raw=True)
            save_onnx(network, path, options, onnx_metadata(network, names_of(network)))
        return f"{subject.error(run(path, subject)):.1e}"

    return cell


def opencv(path: Path, subject: Subject) -> list[Tensor]:
    """By OpenCV's importer of ONNX."""
    return OpenCVOnnx(path, subject.network()).head_outputs(subject.picture)


def onnx_runtime(path: Path, subject: Subject) -> list[Tensor]:
    """By ONNX Runtime."""
    session = load("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return _tensors(session.run(None, {"images": subject.picture.numpy()}))


def openvino(path: Path, subject: Subject) -> list[Tensor]:
    """By OpenVINO, in float32."""
    core = load("openvino").Core()
    model = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = model(subject.picture.numpy())
    return _tensors([found[k] for k in range(len(model.outputs))])


def ncnn(path: Path, subject: Subject) -> list[Tensor]:
    """By ncnn through pnnx, in float32."""
    target = path.with_suffix(".param")
    ncnn_from_onnx(path, target, subject.size, 3, half=False)
    return NcnnNetwork(target, subject.network()).head_outputs(subject.picture[0])


def mnn(path: Path, subject: Subject) -> list[Tensor]:
    """By MNN, in float32."""
    library = load("MNN")
    target = path.with_suffix(".mnn")
    mnn_from_onnx(path, target, {})
    outputs = [f"head{k}" for k in range(len(subject.exact))]
    how = library.nn.create_runtime_manager(({"precision": "high"},))
    net = library.nn.load_module_from_file(str(target), ["images"], outputs, runtime_manager=how)
    image = subject.picture.numpy()
    given = library.expr.const(image, image.shape, library.expr.NCHW)
    return _tensors([library.expr.convert(out, library.expr.NCHW).read()
                     for out in net.forward([given])])  # fmt: skip


def _tensors(arrays: list[Any]) -> list[Tensor]:
    return [torch.from_numpy(np.array(array, dtype=np.float32)) for array in arrays]
