"""OpenCV's DNN module as a second implementation: every cfg of the zoo that it can import.

OpenCV adds another epsilon to variances; weights written with `--bn-epsilon opencv` make up for it.
Values are compared with the layer's maximum where that is above 1, else as they are.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from models import Darknet
from tests.support.golden import GOLDEN, read_vector, vector_cfg, write_vector_weights
from tests.support.installed.opencv_version import needs_cfg_importer
from tests.support.nets import image
from tests.support.prune_case import Case
from tests.support.zoo_cfgs import small, zoo
from utils.cfg import Cfg, plain_text
from utils.network.batch_norm.epsilon import for_epsilon
from utils.network.batch_norm.statistics import recalibrate_
from utils.network.initialize import initialize
from utils.network.layers import build_layers
from utils.network.layers.dfl import Dfl
from utils.network.options import BnEpsilon
from utils.network.weights import State, load_darknet_weights, save_darknet_weights

pytestmark = needs_cfg_importer
TOLERANCE = 1e-4
# Up to 100 swish layers in a row: OpenCV is 5 to 8 times as far from float64 as we are.
DEEP_SWISH = {"yolov8m": 3e-4, "yolov8l": 3e-4, "yolov8x": 3e-4}
REFUSED = {"Gaussian_yolov3_BDD": "Gaussian_yolo", "yolov4-tiny_contrastive": "local_avgpool"}


def opencv_values(
    cfg: Cfg, state: State, x: Tensor, epsilon: BnEpsilon, folder: Path
) -> list[Tensor]:
    """What the heads read in OpenCV, (B, C, H, W) each; the last value of a net without any."""
    model = Darknet(cfg)
    path = folder / "x.weights"
    save_darknet_weights(path, model.rules, for_epsilon(state, model.rules, epsilon))
    text = np.frombuffer(plain_text(cfg).encode(), np.uint8)
    net = cv2.dnn.readNetFromDarknet(text, np.fromfile(path, np.uint8))
    path.unlink()
    net.setInput(x.numpy())
    of_yolov8 = [f"concat_{head.index}" for head in model.heads if isinstance(head, Dfl)]
    if of_yolov8:
        return [torch.from_numpy(out.copy()) for out in net.forward(of_yolov8)]
    heads = [name for name in net.getLayerNames() if name.startswith("permute_")]
    if not heads:
        return [torch.from_numpy(net.forward().copy())]
    return [torch.from_numpy(out.copy()).permute(0, 3, 1, 2) for out in net.forward(heads)]


@torch.no_grad()
def our_values(cfg: Cfg, state: State, x: Tensor) -> list[Tensor]:
    """The same of our own network."""
    model = Darknet(cfg).eval()
    model.load_state(state)
    return model.raw_heads(x) or [model(x)]


def error(theirs: list[Tensor], ours: list[Tensor]) -> float:
    """The largest difference, in units of the layer's maximum where that is above 1."""
    return max(
        float((a.reshape(b.shape) - b).abs().max() / b.abs().max().clamp(min=1))
        for a, b in zip(theirs, ours, strict=True)
    )


@torch.no_grad()
def fresh(cfg: Cfg, seed: int) -> Case:
    """A network as a training begins."""
    torch.manual_seed(seed)
    model = Darknet(cfg)
    initialize(model.layers, model.heads)
    for name, parameter in model.named_parameters():
        if name.endswith("bn.weight"):
            parameter.copy_(torch.rand_like(parameter) + 0.5)
        if name.endswith("bn.bias"):
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    recalibrate_(model, [torch.rand(4, model.in_channels, *model.img_size)])
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    return Case(cfg, ratio=0.4, state=state)


def calibrated(path: Path, folder: Path) -> Case:
    """40% cut, from the weights of Darknet's own vector: rounding does not grow in such a net.

    With gammas of either sign it does, in the deep ones to 3e-4 of a head: so nets without a vector
    are as a training begins, with statistics measured and gammas and betas of some spread.
    """
    found = GOLDEN / "small" / f"{path.stem}.npz"
    if not found.is_file():
        return fresh(small(path, rows=4), seed=zlib.crc32(path.stem.encode()))
    vector = read_vector(found)
    cfg, text = vector_cfg(found, vector)
    weights = write_vector_weights(folder / "vector.weights", text, vector)
    state, _ = load_darknet_weights(weights, build_layers(cfg))
    weights.unlink()
    return Case(cfg, ratio=0.4, state=state)


@pytest.mark.parametrize("path", zoo(*(f"darknet/{name}" for name in REFUSED)))
def test_heads_equal_ours(path: Path, tmp_path: Path) -> None:
    """As it is, and with 40% of its channels cut."""
    case = calibrated(path, tmp_path)
    x = image(case.model, batch=1)
    tolerance = DEEP_SWISH.get(path.stem, TOLERANCE)
    for cfg, state in ((case.cfg, case.state), case.pruned()):
        ours = our_values(cfg, state, x)
        assert error(opencv_values(cfg, state, x, "opencv", tmp_path), ours) < tolerance
        others = our_values(cfg, state, x.flip(3))
        assert error(others, ours) > 10 * TOLERANCE or not case.model.heads


def with_small_variances(case: Case) -> State:
    """Every other channel of the middle layers computed at a hundredth of its size."""
    state = {key: tensor.clone() for key, tensor in case.state.items()}
    layers = [k for k in list(case.graph.issued)[1:] if f"layers.{k}.bn.running_var" in state][:4]
    for index in layers:
        for name, factor in (("conv.weight", 0.01), ("bn.running_mean", 0.01)):
            state[f"layers.{index}.{name}"][::2] *= factor
        state[f"layers.{index}.bn.running_var"][::2] *= 0.01**2
    return state


@pytest.mark.parametrize("name", ["demo", "yolov3-tiny"])
def test_small_variances_need_the_other_epsilon(name: str, root: Path, tmp_path: Path) -> None:
    case = Case(small(root / "cfg" / f"{name}.cfg", rows=4))
    state = with_small_variances(case)
    x = image(case.model, batch=1)
    ours = our_values(case.cfg, state, x)
    for epsilon in ("opencv", "any"):
        assert error(opencv_values(case.cfg, state, x, epsilon, tmp_path), ours) < TOLERANCE
    assert error(opencv_values(case.cfg, state, x, "darknet", tmp_path), ours) > 100 * TOLERANCE


@pytest.mark.parametrize("name", REFUSED)
def test_what_opencv_cannot_import(name: str, shared: Path) -> None:
    text = (shared / "golden" / "cfg" / f"{name}.cfg").read_bytes()
    with pytest.raises(cv2.error, match=f"Unknown layer type: {REFUSED[name]}"):
        cv2.dnn.readNetFromDarknet(np.frombuffer(text, np.uint8))
