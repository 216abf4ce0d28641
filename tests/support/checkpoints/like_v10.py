"""Blocks between YOLOv8 and YOLO11 that need no attention, as like_v8 has those of YOLOv8."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.support.checkpoints.like_v8 import (
    C3,
    PLACES,
    SPPF,
    Bottleneck,
    C2f,
    Conv,
    Detect,
    DetectionModel,
)


def linear() -> nn.Module:
    return nn.Identity()


class DWConv(Conv):
    """Each channel by itself."""

    def __init__(self, c: int, k: int, s: int = 1, act: nn.Module | None = None):
        super().__init__(c, c, k, s, act)
        self.conv = nn.Conv2d(c, c, k, s, k // 2, groups=c, bias=False)


class C2(nn.Module):
    def __init__(self, c1: int, c2: int, n: int):
        super().__init__()
        self.cv1, self.cv2 = Conv(c1, c2), Conv(c2, c2)
        self.m = nn.Sequential(*(Bottleneck(c2 // 2, c2 // 2, c2 // 2, True) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.cv1(x).chunk(2, 1)
        y: Tensor = self.cv2(torch.cat((self.m(first), second), 1))
        return y


class GhostConv(nn.Module):
    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, act: nn.Module | None = None):
        super().__init__()
        self.cv1, self.cv2 = Conv(c1, c2 // 2, k, s, act), DWConv(c2 // 2, 5, 1, act)

    def forward(self, x: Tensor) -> Tensor:
        first = self.cv1(x)
        return torch.cat((first, self.cv2(first)), 1)


class GhostBottleneck(nn.Module):
    def __init__(self, c1: int, c2: int, s: int = 1):
        super().__init__()
        between = DWConv(c2 // 2, 3, s, linear()) if s == 2 else nn.Identity()
        last = GhostConv(c2 // 2, c2, act=linear())
        self.conv = nn.Sequential(GhostConv(c1, c2 // 2), between, last)
        around = nn.Sequential(DWConv(c1, 3, s, linear()), Conv(c1, c2, act=linear()))
        self.shortcut = around if s == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x) + self.shortcut(x)
        return y


class C3Ghost(C3):
    def __init__(self, c1: int, c2: int, n: int):
        super().__init__(c1, c2, 0, True)
        self.m = nn.Sequential(*(GhostBottleneck(c2 // 2, c2 // 2) for _ in range(n)))


class C3k(C3):
    def __init__(self, c: int, n: int = 2):
        super().__init__(c, c, 0, True)
        self.m = nn.Sequential(*(Bottleneck(c // 2, c // 2, c // 2, True) for _ in range(n)))


class C3k2(C2f):
    """`inner`: what stands in it, made for so many channels; a Bottleneck unless given."""

    def __init__(self, c1: int, c2: int, n: int = 1, inner: type[nn.Module] | None = None):
        super().__init__(c1, c2, 0, True)
        c = self.c
        made = [inner(c) if inner else Bottleneck(c, c // 2, c, True) for _ in range(n)]
        self.m = nn.ModuleList(made)
        self.cv2 = Conv((2 + n) * c, c2)


class AddedSPPF(SPPF):
    """YOLO26's, under a second name that the translator knows, too."""

    def __init__(self, c: int, n: int = 3):
        super().__init__(c, c)
        self.cv1.act = linear()
        self.cv2 = Conv((1 + n) * (c // 2), c)
        self.n, self.add = n, True

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.cv1(x)]
        for _ in range(self.n):
            parts.append(self.m(parts[-1]))
        y: Tensor = self.cv2(torch.cat(parts, 1))
        return x + y


class SCDown(nn.Module):
    def __init__(self, c1: int, c2: int):
        super().__init__()
        self.cv1, self.cv2 = Conv(c1, c2), DWConv(c2, 3, 2, linear())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv2(self.cv1(x))
        return y


class RepVGGDW(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.conv: nn.Module = DWConv(c, 7, act=linear())
        self.conv1 = DWConv(c, 3, act=linear())
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.conv(x) + self.conv1(x))
        return y


class CIB(nn.Module):
    def __init__(self, c: int, large: bool = True):
        super().__init__()
        middle = RepVGGDW(2 * c) if large else DWConv(2 * c, 3)
        self.cv1 = nn.Sequential(DWConv(c, 3), Conv(c, 2 * c), middle, Conv(2 * c, c), DWConv(c, 3))
        self.add = True

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.cv1(x)
        return y


class C2fCIB(C3k2):
    def __init__(self, c1: int, c2: int, n: int = 1):
        super().__init__(c1, c2, n, CIB)


class LightDetect(Detect):
    """The class branches are depthwise; with `one2one` there is a second set of both branches."""

    def __init__(self, nc: int, channels: tuple[int, ...], reg_max: int = 16, one2one: bool = True):
        super().__init__(nc, channels, reg_max)
        if reg_max == 1:
            self.cv2 = nn.ModuleList(self._branch(c, 16, 4) for c in channels)
        self.cv3 = nn.ModuleList(self._light(c, nc) for c in channels)
        if one2one:
            self.one2one_cv2 = nn.ModuleList(
                self._branch(c, self.cv2[0][0].conv.out_channels, 4 * reg_max) for c in channels
            )
            self.one2one_cv3 = nn.ModuleList(self._light(c, nc) for c in channels)

    @staticmethod
    def _light(c: int, nc: int) -> nn.Sequential:
        pairs = [nn.Sequential(DWConv(c, 3), Conv(c, c)) for _ in range(2)]
        return nn.Sequential(*pairs, nn.Conv2d(c, nc, 1))

    def raw(self, values: list[Tensor], one2one: bool = False) -> list[Tensor]:
        keys = ("one2one_cv2", "one2one_cv3") if one2one else ("cv2", "cv3")
        boxes, classes = (getattr(self, key) for key in keys)
        pairs = enumerate(values)
        return [torch.cat((boxes[k](value), classes[k](value)), 1) for k, value in pairs]


AddedSPPF.__name__ = AddedSPPF.__qualname__ = "SPPFPruned"
LightDetect.__name__ = LightDetect.__qualname__ = "v10Detect"
PLACES["ultralytics.nn.modules.conv"] += (DWConv, GhostConv)
PLACES["ultralytics.nn.modules.block"] += (
    AddedSPPF, C2, C2fCIB, C3Ghost, C3k, C3k2, CIB, GhostBottleneck, RepVGGDW, SCDown,
)  # fmt: skip
PLACES["ultralytics.nn.modules.head"] += (LightDetect,)


def around(
    *blocks: nn.Module, width: int, head: Callable[..., Detect] | None = None
) -> DetectionModel:
    """A network of these blocks between a stem of 16 channels and three heads.

    `width`: channels that the last of them gives.
    """
    count = len(blocks)
    found = [(Conv(3, 16, 3, 2), -1), *((block, -1) for block in blocks)]
    found += [(Conv(width, 16, 3, 2), -1), (Conv(16, 24, 3, 2), -1)]
    detect = (head or Detect)(3, (width, 16, 24))
    found.append((detect, [count, count + 1, count + 2]))
    return DetectionModel(found, names={k: f"thing {k}" for k in range(3)})
