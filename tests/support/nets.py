"""Tiny networks as cfg text, and states under which comparing two networks means something."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models import Darknet
from utils.cfg import Cfg, parse_cfg, plain_text
from utils.network.layers import Layer, build_layers
from utils.network.layers.modules import DarknetBatchNorm

State = dict[str, Tensor]


def section(kind: str, **options: Any) -> str:
    """`[kind]` with its options; those that are None are left out. `frm` stands for `from`."""
    named = {"from" if key == "frm" else key: value for key, value in options.items()}
    body = "".join(f"{key}={value}\n" for key, value in named.items() if value is not None)
    return f"[{kind}]\n{body}\n"


def conv(filters: int, /, size: int = 3, **options: Any) -> str:
    """A convolution with batch normalisation and leaky, unless `options` say otherwise."""
    usual: dict[str, Any] = {
        "batch_normalize": 1, "filters": filters, "size": size, "stride": 1, "pad": 1,
        "activation": "leaky",
    }  # fmt: skip
    return section("convolutional", **{**usual, **options})


def head(classes: int = 2, anchors: int = 2, **options: Any) -> str:
    """The last convolution of a detector and its `[yolo]`."""
    pairs = ",".join(f"{8 * k + 6},{7 * k + 5}" for k in range(anchors))
    usual: dict[str, Any] = {
        "mask": ",".join(map(str, range(anchors))), "anchors": pairs, "classes": classes,
        "num": anchors,
    }  # fmt: skip
    filters = anchors * (5 + classes)
    last = conv(filters, 1, batch_normalize=None, activation="linear")
    return last + section("yolo", **{**usual, **options})


def net(*sections: str, width: int = 32, height: int = 32, channels: int = 3) -> Cfg:
    """A network of these sections."""
    start = section("net", width=width, height=height, channels=channels)
    return parse_cfg(start + "".join(sections), "net.cfg")


def healthy_state(model: Darknet, seed: int = 0) -> State:
    """Random tensors under which every layer's signal lives: the BN statistics are measured.

    The model is left as it is.
    """
    generator = torch.Generator().manual_seed(seed)
    twin = copy.deepcopy(model).eval()
    with torch.no_grad():
        for key, tensor in twin.state_dict().items():
            tensor.copy_(_random(key, tensor, generator))
        norms = [m for m in twin.modules() if isinstance(m, DarknetBatchNorm)]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        twin.layer_outputs(torch.rand(2, twin.in_channels, *twin.img_size, generator=generator))
    return {key: tensor.clone() for key, tensor in twin.state_dict().items()}


def _random(key: str, tensor: Tensor, generator: torch.Generator) -> Tensor:
    normal = torch.randn(tensor.shape, generator=generator)
    uniform = torch.rand(tensor.shape, generator=generator)
    if key.endswith((".conv.weight", ".fc.weight")):
        return normal / math.sqrt(max(1, tensor[0].numel()))
    if key.endswith(".bn.weight"):
        return (uniform + 0.1) * torch.where(normal > -1, 1.0, -1.0)
    if key.endswith(".bias"):
        return normal * 0.3
    return uniform + 0.25  # variances, weights of shortcuts and [implicit]


def loaded(cfg: Cfg, state: Mapping[str, Tensor], padding: str = "zeros") -> Darknet:
    """The network of `cfg` in evaluation mode and float64, with this state."""
    model = Darknet(cfg, padding_mode="circular" if padding == "circular" else "zeros").double()
    model.load_state(state)
    return model.eval()


def healthy(cfg: Cfg, seed: int = 0) -> Darknet:
    """The network of `cfg` in evaluation mode, with a healthy state."""
    model = Darknet(cfg)
    model.load_state(healthy_state(model, seed))
    return model.eval()


SMALL_DETECTOR = (
    conv(8, stride=2), conv(8, stride=2), section("maxpool", size=2, stride=2), conv(6), head()
)  # fmt: skip


def small_detector(seed: int = 0) -> Darknet:
    """A `[yolo]` of 2 classes and 2 anchors on 4 x 4 cells of 32 pixels; a healthy state."""
    return healthy(net(*SMALL_DETECTOR), seed)


def image(model: Darknet, seed: int = 0, batch: int = 2) -> Tensor:
    """(B, C, H, W) of noise in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, model.in_channels, *model.img_size, generator=generator)


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rules(*sections: str, hw: tuple[int, int] = (12, 16), channels: int = 3) -> tuple[Layer, ...]:
    """The layers of a cfg of these sections."""
    return build_layers(net(*sections, width=hw[1], height=hw[0], channels=channels))


def shapes(*sections: str, hw: tuple[int, int] = (12, 16)) -> list[tuple[int, ...]]:
    """(C, H, W) of every layer."""
    return [layer.shape for layer in rules(*sections, hw=hw)]


def outputs(sections: Sequence[str], x: Tensor, **tensors: Tensor) -> list[Tensor]:
    """Every layer's value for x (B, C, H, W) in float64, in evaluation mode.

    `tensors` replace some of the state, by names like `l0_conv_weight`.
    """
    cfg = net(*sections, channels=x.shape[1], height=x.shape[2], width=x.shape[3])
    model = Darknet(cfg).double().eval()
    state = {
        key.replace("layers.", "l").replace(".", "_"): tensor
        for key, tensor in model.state_dict().items()
    }
    for name, tensor in tensors.items():
        state[name].copy_(tensor.reshape(state[name].shape))
    with torch.no_grad():
        return model.layer_outputs(x.double())


def same_input() -> str:
    """A first section whose value is the network's input."""
    return section("dropout", probability=0)


def reparsed(cfg: Cfg) -> Cfg:
    """The cfg after a round trip through what is written to files."""
    return parse_cfg(plain_text(cfg), "pruned.cfg")


ACTIVATIONS = ("leaky", "mish", "swish", "relu", "linear", "logistic", "elu", "selu", "plse")


class _Sketch:
    """Sections so far and the shape of each layer's output."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.sections: list[str] = []
        self.shapes: list[tuple[int, int]] = []  # channels, height

    def add(self, text: str, channels: int, height: int) -> None:
        self.sections.append(text)
        self.shapes.append((channels, height))

    def pick(self, *choices: int) -> int:
        return int(self.rng.choice(choices))

    def conv(self, filters: int, **options: Any) -> None:
        name = str(self.rng.choice(ACTIVATIONS))
        self.add(conv(filters, **{"activation": name, **options}), filters, self.shapes[-1][1])


def random_net(seed: int) -> Cfg:
    """A random small detector: convolutions of all kinds, routes, shortcuts, pools, two heads."""
    sketch = _Sketch(np.random.default_rng(seed))
    sketch.add(conv(8, stride=2), 8, 16)
    steps = (_plain, _grouped, _depthwise, _residual, _grouped_route, _join, _pool, _squeeze, _up)
    for k in sketch.rng.integers(0, len(steps), 7):
        steps[k](sketch)
    sketch.conv(sketch.pick(4, 6, 8))
    source = len(sketch.sections) - 1
    height = sketch.shapes[-1][1]
    sketch.add(head(classes=2), 14, height)
    sketch.sections.append(section("route", layers=source))
    sketch.sections.append(conv(6) + head(classes=2))
    return net(*sketch.sections)


def _plain(sketch: _Sketch) -> None:
    sketch.conv(sketch.pick(4, 6, 8), size=sketch.pick(1, 3))


def _grouped(sketch: _Sketch) -> None:
    if sketch.shapes[-1][0] % 2 == 0:
        sketch.conv(8, groups=2)


def _depthwise(sketch: _Sketch) -> None:
    channels = sketch.shapes[-1][0]
    sketch.conv(channels * sketch.pick(1, 2), groups=channels)


def _residual(sketch: _Sketch) -> None:
    channels, height = sketch.shapes[-1]
    sketch.conv(4, size=1)
    sketch.conv(sketch.pick(channels, channels, max(2, channels // 2), 2 * channels))
    activation = str(sketch.rng.choice(("linear", "leaky")))
    text = section("shortcut", frm=-3, activation=activation)
    sketch.add(text, sketch.shapes[-1][0], height)


def _grouped_route(sketch: _Sketch) -> None:
    channels, height = sketch.shapes[-1]
    if channels % 2 == 0:
        text = section("route", layers=-1, groups=2, group_id=sketch.pick(0, 1))
        sketch.add(text, channels // 2, height)


def _join(sketch: _Sketch) -> None:
    height = sketch.shapes[-1][1]
    same = [i for i, (_, h) in enumerate(sketch.shapes) if h == height]
    chosen = sketch.rng.choice(same, size=min(len(same), 3), replace=False).tolist()
    count = sum(sketch.shapes[i][0] for i in chosen)
    if count <= 40:
        sketch.add(section("route", layers=",".join(map(str, chosen))), count, height)


def _pool(sketch: _Sketch) -> None:
    channels, height = sketch.shapes[-1]
    kind = str(sketch.rng.choice(("maxpool", "local_avgpool")))
    stride = sketch.pick(1, 2)
    if height > 4:
        sketch.add(section(kind, size=sketch.pick(2, 3), stride=stride), channels, height // stride)


def _squeeze(sketch: _Sketch) -> None:
    channels, height = sketch.shapes[-1]
    sketch.add(section("avgpool"), channels, 1)
    sketch.add(conv(4, 1, activation="swish"), 4, 1)
    sketch.add(conv(channels, 1, activation="logistic"), channels, 1)
    sketch.add(section("scale_channels", frm=-4), channels, height)


def _up(sketch: _Sketch) -> None:
    channels, height = sketch.shapes[-1]
    if height < 16:
        sketch.add(section("upsample", stride=2), channels, 2 * height)
