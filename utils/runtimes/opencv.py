"""A Darknet model run by OpenCV's DNN module, with the outputs of our own eval mode.

OpenCV 4 imports Darknet files itself, OpenCV 5 no more (`opencv_onnx.py`). Its result differs from
Darknet by one number that every net feels: its batch normalisation adds 1e-6 to the variance,
Darknet 1e-5.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cfg import Cfg, format_cfg, load_cfg, remove_option, replace_layers, set_option
from ..command.errors import UserError
from ..network.batch_norm.epsilon import for_epsilon
from ..network.importers import require_opencv
from ..network.layers import Dfl, Layer, build_layers
from ..network.weights import is_checkpoint, load_darknet_weights, save_darknet_weights
from .needs import require_cfg_importer

Bytes = NDArray[np.uint8]
_LONGEST_REASON = 200


class OpenCVDarknet:
    """`model(x)`: images (B, 3, H, W) in 0..1 -> (B, N, 5 + nc), as `Darknet` in eval mode gives.

    The files are given to OpenCV as they are, but for two keys of each [yolo]: `thresh` is set to
    0, or class probabilities would become 0 where objectness * probability < .2, and
    `nms_threshold` is removed, since suppression belongs to what comes after.

    bn_epsilon_fix: add the missing 9e-6 to every stored variance, for comparisons with Darknet and
    PyTorch to the last digits; leave it out to see what an application will see.

    Raises UserError for an OpenCV without the importer, for files that it cannot import or that do
    not fit each other, and for a net without [yolo] or heads of YOLOv8.
    """

    def __init__(
        self, cfg: Cfg | str | Path, weights_path: str | Path, *, bn_epsilon_fix: bool = False
    ) -> None:
        require_cfg_importer("a cfg in OpenCV")  # whatever is wrong with the files
        cfg = cfg if isinstance(cfg, Cfg) else load_cfg(cfg)
        if is_checkpoint(weights_path):
            raise UserError(f"{weights_path}: OpenCV reads .weights files; convert it first")
        layers = build_layers(cfg)
        require_opencv(layers)
        weights = _file_bytes(cfg, weights_path, bn_epsilon_fix)
        text = format_cfg(_without_thresholds(cfg)).encode("utf-8", "surrogateescape")
        self._net = read_net(text, weights, cfg.source)
        self._one_by_one = any(layer.one_image_in_opencv for layer in layers)
        names = self._net.getLayerNames()
        # The importer makes a permute_<i> (the head's input as NHWC) and a yolo_<i> per section.
        self._decoded = [name for name in names if name.startswith("yolo_")]
        self._raw = [name for name in names if name.startswith("permute_")]
        # To the importer the heads of YOLOv8 are routes; their decoding is ours.
        self._dfl = [layer for layer in layers if isinstance(layer, Dfl) and layer.answers]
        if not (self._decoded or self._dfl):
            raise UserError(
                f"{cfg.source}: has no [yolo] and no head of YOLOv8; only such nets can be run here"
            )

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, N, 5 + nc) float32 on the CPU.

        Columns: xywh in input pixels, objectness, class probabilities. Rows are ordered by head,
        then cell, then anchor. Raises UserError when OpenCV cannot run the net.
        """
        batch, _, height, width = images.shape
        if self._dfl:
            heads = zip(self._dfl, self.head_outputs(images), strict=True)
            return torch.cat([head.decode(raw, (height, width)) for head, raw in heads], 1)
        outputs = self._forward(images, self._decoded)
        rows = [np.reshape(out, (batch, -1, out.shape[-1])) for out in outputs]
        # Columns: x, y, w, h (shares of the input), objectness, objectness * class probability.
        predictions = torch.from_numpy(np.concatenate(rows, axis=1))
        predictions[..., :4] *= predictions.new_tensor([width, height, width, height])
        predictions[..., 5:] /= predictions[..., 4:5].clamp(min=torch.finfo(torch.float32).tiny)
        return predictions

    def head_outputs(self, images: Tensor) -> list[Tensor]:
        """The raw heads, in cfg order, as in our train mode.

        What each [yolo] reads: (B, n * (5 + nc), H, W); of YOLOv8: (B, 4 * reg_max + nc, H, W).
        """
        if self._dfl:
            names = [f"concat_{head.index}" for head in self._dfl]
            return [torch.from_numpy(out) for out in self._forward(images, names)]
        outputs = self._forward(images, self._raw)
        return [torch.from_numpy(out).permute(0, 3, 1, 2).contiguous() for out in outputs]

    def _forward(self, images: Tensor, names: list[str]) -> list[NDArray[np.float32]]:
        blob = images.detach().to("cpu", torch.float32).contiguous().numpy()
        parts = np.split(blob, len(blob)) if self._one_by_one else [blob]
        try:
            found = [self._pass(part, names) for part in parts]
        except cv2.error as error:
            raise UserError(f"OpenCV cannot run this model ({reason(error)})") from None
        return [np.concatenate(each) for each in zip(*found, strict=True)]

    def _pass(self, blob: NDArray[np.float32], names: list[str]) -> list[NDArray[np.float32]]:
        self._net.setInput(blob)
        outputs: Any = self._net.forward(names)
        # Copies: OpenCV may hand out its own buffers, which the next forward overwrites. A head's
        # rows come without the batch's dimension for one image.
        return [np.array(out, dtype=np.float32) for out in outputs]


def read_net(text: bytes, weights: Bytes, source: str | Path) -> cv2.dnn.Net:
    """A net of a cfg's text and the bytes of its .weights file, by OpenCV's own importer.

    The two must fit: OpenCV reads past a missing end without a word. Raises UserError, naming
    `source`, for an OpenCV without the importer and for a cfg that it does not take.
    """
    require_cfg_importer(str(source))
    try:
        return cv2.dnn.readNetFromDarknet(np.frombuffer(text, np.uint8), weights)
    except cv2.error as error:
        raise UserError(f"{source}: OpenCV cannot import it ({reason(error)})") from None


def weights_bytes(layers: Sequence[Layer], state: Mapping[str, Tensor], seen: int = 0) -> Bytes:
    """What a .weights file of this state would hold."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.weights"
        save_darknet_weights(path, layers, state, seen)
        return np.fromfile(path, np.uint8)


def reason(error: cv2.error) -> str:
    """Why a call of OpenCV failed, in one line.

    Of the error's own text: `error.err` and its like lie on the class, so they tell of whichever
    call failed last, or nothing.
    """
    told = " ".join(str(error).split())
    return (told.partition("error: ")[2] or told)[:_LONGEST_REASON]


def _without_thresholds(cfg: Cfg) -> Cfg:
    changed = {}
    for index, section in enumerate(cfg.layers):
        if section.kind == "yolo":
            bare = remove_option(remove_option(section, "thresh"), "nms_threshold")
            changed[index] = set_option(bare, "thresh", "0")
    return replace_layers(cfg, changed)


def _file_bytes(cfg: Cfg, path: str | Path, bn_epsilon_fix: bool) -> Bytes:
    """The weights file, checked to fit the cfg.

    With `bn_epsilon_fix`, its variances make OpenCV's epsilon Darknet's.
    """
    layers = build_layers(cfg)
    state, header = load_darknet_weights(path, layers)
    if not bn_epsilon_fix:
        return np.fromfile(path, np.uint8)
    return weights_bytes(layers, for_epsilon(state, layers, "opencv"), header.seen)
