"""One forward pass of one image in a runtime, ready to be timed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ..cfg import Cfg, plain_text
from ..command.errors import UserError
from ..network.layers import Layer
from ..network.weights import save_darknet_weights
from .opencv import require_importer
from .options import Runtime

Pass = Callable[[], object]
Build = Callable[..., Any]  # models.Darknet


def make_pass(
    runtime: Runtime,
    build: Build,
    cfg: Cfg,
    img_hw: tuple[int, int],
    state: Mapping[str, Tensor] | None = None,
    device: torch.device | None = None,
) -> Pass:
    """A call that runs the network of `cfg` once; without `state`, with random weights.

    torch runs it fused, on `device`; OpenCV on the CPU. Raises UserError for what OpenCV cannot
    import.
    """
    model = build(cfg, img_size=img_hw)
    if state is not None:
        model.load_state(state)
    if runtime == "opencv":
        return _opencv_pass(cfg, img_hw, model.rules, model.state_dict())
    network = model.fuse().eval().to(device or "cpu")
    image = torch.rand(1, model.in_channels, *img_hw, device=device or "cpu")
    return lambda: network(image)


def _opencv_pass(
    cfg: Cfg, img_hw: tuple[int, int], layers: tuple[Layer, ...], state: Mapping[str, Tensor]
) -> Pass:
    require_importer()
    text = plain_text(cfg).encode("ascii", "replace")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "timed.weights"
        save_darknet_weights(path, layers, state)
        weights = np.fromfile(path, np.uint8)
    blob = np.random.default_rng(0).random((1, layers[0].inputs[0][0], *img_hw), np.float32)
    try:
        net = cv2.dnn.readNetFromDarknet(np.frombuffer(text, np.uint8), weights)
        names = net.getUnconnectedOutLayersNames()
    except cv2.error as error:
        raise UserError(f"{cfg.source}: OpenCV cannot import it ({error.err})") from None

    def run() -> object:
        net.setInput(blob)
        return net.forward(names)

    return run
