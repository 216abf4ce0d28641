"""Checkpoints of the shape that ultralytics writes, made without it: the yardstick of translation.

The classes compute what the blocks of these names compute, in our own words; while a file is being
saved they pose as members of the packages whose names real files hold.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BN_EPS = 1e-3


class Conv(nn.Module):
    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, act: nn.Module | None = None):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, k // 2, bias=False)
        self.bn = nn.BatchNorm2d(c2, eps=BN_EPS)
        self.act = act or nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.bn(self.conv(x)))
        return y


class Bottleneck(nn.Module):
    def __init__(self, c1: int, hidden: int, c2: int, add: bool, k: tuple[int, int] = (3, 3)):
        super().__init__()
        self.cv1, self.cv2 = Conv(c1, hidden, k[0]), Conv(hidden, c2, k[1])
        self.add = add

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C2f(nn.Module):
    """`halves`: channels of the two halves of cv1, equal unless a pruner has been there."""

    def __init__(self, c1: int, c2: int, n: int, add: bool, halves: tuple[int, int] | None = None):
        super().__init__()
        a, b = halves or (c2 // 2, c2 // 2)
        self.c = b
        self.cv1 = Conv(c1, a + b)
        self.m = nn.ModuleList(Bottleneck(b, b, b, add) for _ in range(n))
        self.cv2 = Conv(a + b + n * b, c2)
        if halves:
            self.cv1_split_sections = [a, b]

    def forward(self, x: Tensor) -> Tensor:
        first = self.cv1(x)
        parts = [first[:, : first.shape[1] - self.c], first[:, -self.c :]]
        for block in self.m:
            parts.append(block(parts[-1]))
        y: Tensor = self.cv2(torch.cat(parts, 1))
        return y


class C3(nn.Module):
    def __init__(self, c1: int, c2: int, n: int, add: bool):
        super().__init__()
        c = c2 // 2
        self.cv1, self.cv2, self.cv3 = Conv(c1, c), Conv(c1, c), Conv(2 * c, c2)
        self.m = nn.Sequential(*(Bottleneck(c, c, c, add, (1, 3)) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))
        return y


class SPPF(nn.Module):
    def __init__(self, c1: int, c2: int):
        super().__init__()
        self.cv1, self.cv2 = Conv(c1, c1 // 2), Conv(2 * c1, c2)
        self.m = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(self.m(parts[-1]))
        y: Tensor = self.cv2(torch.cat(parts, 1))
        return y


class AIFI(nn.Module):
    """A transformer's layer, in name only: it is never run."""

    def __init__(self, c: int):
        super().__init__()
        self.cv1 = Conv(c, c)


class Concat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.d = 1


class Detect(nn.Module):
    def __init__(self, nc: int, channels: Sequence[int], reg_max: int = 16):
        super().__init__()
        self.nc, self.reg_max = nc, reg_max
        c2, c3 = max(16, channels[0] // 4, 4 * reg_max), max(channels[0], min(nc, 100))
        self.stride = torch.tensor([8.0, 16.0, 32.0])
        self.cv2 = nn.ModuleList(self._branch(c, c2, 4 * reg_max) for c in channels)
        self.cv3 = nn.ModuleList(self._branch(c, c3, nc) for c in channels)

    @staticmethod
    def _branch(c1: int, c: int, out: int) -> nn.Sequential:
        return nn.Sequential(Conv(c1, c, 3), Conv(c, c, 3), nn.Conv2d(c, out, 1))


class DetectionModel(nn.Module):
    """`blocks`: (module, f) in order."""

    def __init__(self, blocks: Sequence[tuple[nn.Module, Any]], names: Any = None):
        super().__init__()
        for index, (block, f) in enumerate(blocks):
            block.f, block.i, block.type = f, index, type(block).__name__  # type: ignore[assignment]
        self.model = nn.Sequential(*(block for block, _ in blocks))
        self.names = names

    def head_inputs(self, x: Tensor) -> list[Tensor]:
        """What the last block reads."""
        values: list[Tensor] = []
        for block in self.model:
            f: Any = block.f
            found = [values[k] if values else x for k in ([f] if isinstance(f, int) else f)]
            if block is self.model[-1]:
                break
            joined = isinstance(block, Concat)
            values.append(torch.cat(found, 1) if joined else block(found[0]))
        return found

    def raw(self, x: Tensor) -> list[Tensor]:
        """The raw heads of a `Detect`: 4 * reg_max bins and class logits per level."""
        head: Any = self.model[-1]
        pairs = enumerate(self.head_inputs(x))
        return [torch.cat((head.cv2[k](value), head.cv3[k](value)), 1) for k, value in pairs]


PLACES = {
    "ultralytics.nn.modules.conv": (Conv, Concat),
    "ultralytics.nn.modules.block": (Bottleneck, C2f, C3, SPPF, AIFI),
    "ultralytics.nn.modules.head": (Detect,),
    "ultralytics.nn.tasks": (DetectionModel,),
}
DEPTH_WIDTH_MOST = {
    "n": (1 / 3, 0.25, 1024), "s": (1 / 3, 0.5, 1024), "m": (2 / 3, 0.75, 768),
    "l": (1.0, 1.0, 512), "x": (1.0, 1.25, 512),
}  # fmt: skip


@contextmanager
def posing() -> Iterator[None]:
    """The classes stand where a real file's names point, as long as the block lasts."""
    parents = {name.rsplit(".", k)[0] for name in PLACES for k in range(4)}
    before = {name: sys.modules.get(name) for name in parents}
    own = {cls: cls.__module__ for classes in PLACES.values() for cls in classes}
    try:
        sys.modules.update({name: ModuleType(name) for name in parents})
        for name, classes in PLACES.items():
            module = sys.modules[name]
            for cls in classes:
                cls.__module__ = name
                setattr(module, cls.__name__, cls)
        yield
    finally:
        for cls, name in own.items():
            cls.__module__ = name
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def save(path: Path, model: Any, **entries: Any) -> Path:
    """Write a checkpoint as ultralytics does: the module itself, pickled."""
    with posing():
        torch.save({"epoch": -1, "model": model, "ema": None, **entries}, path)
    return path


def yolov8(size: str = "n", nc: int = 3, width: float | None = None) -> DetectionModel:
    """One of the sizes; `width` overrides the share of channels, for small tests."""
    depth, share, most = DEPTH_WIDTH_MOST[size]
    share = width or share

    def c(base: int) -> int:
        return math.ceil(min(base, most) * share / 8) * 8

    def n(base: int) -> int:
        return max(1, round(base * depth))

    def up() -> nn.Upsample:
        return nn.Upsample(None, 2, "nearest")

    return DetectionModel(
        [
            (Conv(3, c(64), 3, 2), -1),
            (Conv(c(64), c(128), 3, 2), -1),
            (C2f(c(128), c(128), n(3), True), -1),
            (Conv(c(128), c(256), 3, 2), -1),
            (C2f(c(256), c(256), n(6), True), -1),
            (Conv(c(256), c(512), 3, 2), -1),
            (C2f(c(512), c(512), n(6), True), -1),
            (Conv(c(512), c(1024), 3, 2), -1),
            (C2f(c(1024), c(1024), n(3), True), -1),
            (SPPF(c(1024), c(1024)), -1),
            (up(), -1),
            (Concat(), [-1, 6]),
            (C2f(c(1024) + c(512), c(512), n(3), False), -1),
            (up(), -1),
            (Concat(), [-1, 4]),
            (C2f(c(512) + c(256), c(256), n(3), False), -1),
            (Conv(c(256), c(256), 3, 2), -1),
            (Concat(), [-1, 12]),
            (C2f(c(512) + c(256), c(512), n(3), False), -1),
            (Conv(c(512), c(512), 3, 2), -1),
            (Concat(), [-1, 9]),
            (C2f(c(1024) + c(512), c(1024), n(3), False), -1),
            (Detect(nc, (c(256), c(512), c(1024))), [15, 18, 21]),
        ],
        names={k: f"thing {k}" for k in range(nc)},
    )


@torch.no_grad()
def healthy(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random numbers under which every layer's signal lives."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
            if module.bias is not None:
                module.bias.normal_(0, 0.5, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.weight.uniform_(0.5, 1.5, generator=generator)
            module.bias.normal_(0, 0.3, generator=generator)
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.3, 2.0, generator=generator)
    return model.eval()


def decoded(raw: Sequence[Tensor], strides: Sequence[int], nc: int) -> Tensor:
    """(B, A, 4 + nc): xywh in pixels and probabilities, one cell at a time."""
    rows = []
    for x, stride in zip(raw, strides, strict=True):
        bins = torch.arange(16.0, dtype=x.dtype)
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                sides = [F.softmax(x[:, 16 * k : 16 * k + 16, i, j], 1) @ bins for k in range(4)]
                left, top, right, bottom = sides
                x1, y1 = (j + 0.5 - left) * stride, (i + 0.5 - top) * stride
                x2, y2 = (j + 0.5 + right) * stride, (i + 0.5 + bottom) * stride
                box = torch.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), 1)
                rows.append(torch.cat((box, x[:, 64:, i, j].sigmoid()), 1))
    return torch.stack(rows, 1)
