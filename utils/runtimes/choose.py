"""One way to run a network by any of the runtimes, from the files that a user has."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import cast

import cv2
import torch
from torch import Tensor

from ..command.errors import UserError
from ..command.optional import NEEDS, require
from ..detection.evaluate import Predict
from ..network.batch_norm.epsilon import for_epsilon
from ..network.darknet import Network, names_of
from ..network.int8.convert import put_on_grids
from ..network.layers.modules import ConvolutionModule
from ..network.weights import is_checkpoint, require_usable
from .files import FileOptions, open_file, write_files
from .needs import needs_of, opencv_reads_cfg
from .onnx.export import OnnxOptions, onnx_metadata, save_onnx
from .opencv import OpenCVDarknet
from .opencv_onnx import OpenCVOnnx
from .options import Backend, Format, Pair, opened_by, target_files
from .real_images import Images


def open_backend(
    backend: Backend,
    network: Network,
    weights: str | Path,
    device: torch.device,
    threads: int | None = None,
) -> Predict:
    """`predict(images)` by a runtime; `network` is built from the cfg and takes the weights.

    torch loads and fuses `network` itself. OpenCV 4 takes the cfg and weights; OpenCV 5 and the
    others a file that export.py wrote, if `weights` is one, else one that is made for this call.
    Raises UserError for a runtime that is not installed or files that do not fit.
    """
    needs = _running(backend) if opened_by(weights) else needs_of(backend)
    require(needs, f"runtime {backend}")
    _check_suffix(backend, weights)
    if threads:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    if backend == "torch":
        return torch_backend(with_weights(network, weights), device)
    if backend == "opencv" and opencv_reads_cfg() and not opened_by(weights):
        with darknet_weights(network, weights) as path:
            return OpenCVDarknet(network.cfg, path)
    kind = cast(Format | Pair, backend)
    if opened_by(weights):
        return open_file(kind, Path(weights), network.answering_(), threads)
    return open_made(kind, with_weights(network, weights), threads)


def open_made(
    kind: Format | Pair, network: Network, threads: int | None = None, calibration: Images = ()
) -> Predict:
    """Run a file that is made of a loaded network for this call; in int8 where there are images.

    Raises UserError where a converter refuses the network.
    """
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / "model"
        options = FileOptions(kind, network.img_size, calibration=calibration)
        write_files(network, stem, options, onnx_metadata(network, names_of(network)))
        return open_file(kind, target_files(stem, kind)[0], network, threads)


def with_weights(network: Network, weights: str | Path) -> Network:
    """The network with a file's weights, to be run: without what is only there to be trained.

    Raises UserError for a file that does not fit, and for numbers that no network can have: with
    NaN every score is 0 in any runtime, and nothing would tell why.
    """
    _load(network, weights)
    network.answering_()
    return network


def _load(network: Network, weights: str | Path) -> None:
    network.load_weights(weights)
    require_usable(network.state_dict(), str(weights))


def torch_backend(
    network: Network,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    amp: torch.dtype | None = None,
) -> Predict:
    """PyTorch on a loaded network, which is fused in place; under autocast to `amp` where given.

    On a CPU in float32, what it says of an image does not depend on the others in its batch. A
    network that was finetuned for int8 is run with its values and kernels rounded. Raises
    UserError for such a one in another type.
    """
    if network.ranges and not network.grids:
        put_on_grids(network, network.ranges)
    if network.grids and (dtype != torch.float32 or amp):
        raise UserError(
            "these weights are for int8, which is scored in float32: no --half or --amp"
        )
    model = network.eval().fuse()
    model.to(device, dtype).to(memory_format=torch.channels_last)
    kind = torch.device(device).type
    if kind == "cpu" and amp is None:
        for module in model.modules():
            if isinstance(module, ConvolutionModule):
                module.steady()

    def predict(images: Tensor) -> Tensor:
        with torch.autocast(kind, amp) if amp else nullcontext():
            boxes: Tensor = model(_channels_last(images))
        return boxes

    return predict


def _channels_last(images: Tensor) -> Tensor:
    """Images (B, C, H, W) with their channels last in memory, and with strides that say so.

    The stride of a batch of one may be anything, and torch goes by it: it would run the whole
    network the other way round.
    """
    _, channels, height, width = images.shape
    strides = (channels * height * width, 1, width * channels, channels)
    return images.contiguous(memory_format=torch.channels_last).as_strided(images.shape, strides)


def open_opencv(network: Network, weights: str | Path) -> OpenCVDarknet | OpenCVOnnx:
    """A cfg with .weights in OpenCV, its raw heads at hand: as they are, or by ONNX in OpenCV 5."""
    if opencv_reads_cfg():
        return OpenCVDarknet(network.cfg, weights)
    require(needs_of("opencv"), "runtime opencv")
    with_weights(network, weights)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        save_onnx(network, path, OnnxOptions(network.img_size, raw=True), {})
        return OpenCVOnnx(path, network)


@contextmanager
def darknet_weights(network: Network, weights: str | Path) -> Iterator[Path]:
    """A .weights file: `weights` itself, or what `convert(..., bn_epsilon="any")` makes of it."""
    _load(network, weights)
    if not is_checkpoint(weights):
        yield Path(weights)
        return
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.weights"
        network.load_state(for_epsilon(before, network.rules, "any"))
        network.save_weights(path)
        network.load_state(before)
        yield path


def _running(backend: Backend) -> tuple[str, ...]:
    """What a runtime needs for a file that is made already."""
    if backend == "opencv":
        return ("onnx",)  # it tells the file's size and names, of which OpenCV says nothing
    making = ("onnx", "onnxscript", "pnnx", "litert_torch", "ai_edge_quantizer", "scipy")
    return tuple(module for module in NEEDS[backend] if module not in making)


def _check_suffix(backend: Backend, weights: str | Path) -> None:
    fitting = opened_by(weights)
    if fitting and backend not in fitting:
        raise UserError(f"{weights}: is for --backend {' or '.join(fitting)}, not {backend}")
