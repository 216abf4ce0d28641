"""YOLOv9's blocks, as like_v8 has those of YOLOv8; importing it lets them pose, too."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.checkpoints.like_v8 import (
    BN_EPS,
    C3,
    PLACES,
    Bottleneck,
    Concat,
    Conv,
    Detect,
    DetectionModel,
)


class RepConv(nn.Module):
    """`same`: the input is a third branch."""

    def __init__(self, c1: int, c2: int, same: bool = False):
        super().__init__()
        self.conv1 = Conv(c1, c2, 3, act=nn.Identity())
        self.conv2 = Conv(c1, c2, 1, act=nn.Identity())
        self.bn = nn.BatchNorm2d(c1, eps=BN_EPS) if same else None
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x) + self.conv2(x)
        z: Tensor = self.act(y if self.bn is None else y + self.bn(x))
        return z


class RepBottleneck(Bottleneck):
    def __init__(self, c: int, same: bool):
        super().__init__(c, c, c, True)
        self.cv1 = RepConv(c, c, same)  # type: ignore[assignment]


class RepCSP(C3):
    def __init__(self, c1: int, c2: int, n: int):
        super().__init__(c1, c2, 0, True)
        self.m = nn.Sequential(*(RepBottleneck(c2 // 2, k % 2 == 1) for k in range(n)))


class RepNCSPELAN4(nn.Module):
    def __init__(self, c1: int, c2: int, c3: int, c4: int, n: int = 1):
        super().__init__()
        self.cv1 = Conv(c1, c3)
        self.cv2: nn.Module = nn.Sequential(RepCSP(c3 // 2, c4, n), Conv(c4, c4, 3))
        self.cv3: nn.Module = nn.Sequential(RepCSP(c4, c4, n), Conv(c4, c4, 3))
        self.cv4 = Conv(c3 + 2 * c4, c2)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.cv1(x).chunk(2, 1))
        parts.append(self.cv2(parts[-1]))
        parts.append(self.cv3(parts[-1]))
        y: Tensor = self.cv4(torch.cat(parts, 1))
        return y


class ELAN1(RepNCSPELAN4):
    def __init__(self, c1: int, c2: int, c3: int, c4: int):
        super().__init__(c1, c2, c3, c4)
        self.cv2, self.cv3 = Conv(c3 // 2, c4, 3), Conv(c4, c4, 3)


class AConv(nn.Module):
    def __init__(self, c1: int, c2: int):
        super().__init__()
        self.cv1 = Conv(c1, c2, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv1(F.avg_pool2d(x, 2, 1, 0, False, True))
        return y


class ADown(nn.Module):
    def __init__(self, c1: int, c2: int):
        super().__init__()
        self.cv1, self.cv2 = Conv(c1 // 2, c2 // 2, 3, 2), Conv(c1 // 2, c2 // 2)

    def forward(self, x: Tensor) -> Tensor:
        first, second = F.avg_pool2d(x, 2, 1, 0, False, True).chunk(2, 1)
        pooled = F.max_pool2d(second, 3, 2, 1)
        return torch.cat((self.cv1(first), self.cv2(pooled)), 1)


class SPPELAN(nn.Module):
    def __init__(self, c1: int, c2: int, c3: int):
        super().__init__()
        self.cv1 = Conv(c1, c3)
        self.cv2, self.cv3, self.cv4 = (nn.MaxPool2d(5, 1, 2) for _ in range(3))
        self.cv5 = Conv(4 * c3, c2)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.cv1(x)]
        for pool in (self.cv2, self.cv3, self.cv4):
            parts.append(pool(parts[-1]))
        y: Tensor = self.cv5(torch.cat(parts, 1))
        return y


PLACES["ultralytics.nn.modules.conv"] += (RepConv,)
PLACES["ultralytics.nn.modules.block"] += (
    RepBottleneck, RepCSP, RepNCSPELAN4, ELAN1, AConv, ADown, SPPELAN,
)  # fmt: skip


def yolov9(down: type[AConv] | type[ADown] = AConv, nc: int = 3, n: int = 2) -> DetectionModel:
    """The layers of size t, at half its widths; the larger ones have `ADown`."""

    def up() -> nn.Upsample:
        return nn.Upsample(None, 2, "nearest")

    return DetectionModel(
        [
            (Conv(3, 8, 3, 2), -1),
            (Conv(8, 16, 3, 2), -1),
            (ELAN1(16, 16, 16, 8), -1),
            (down(16, 32), -1),
            (RepNCSPELAN4(32, 32, 32, 16, n), -1),
            (down(32, 48), -1),
            (RepNCSPELAN4(48, 48, 48, 24, n), -1),
            (down(48, 64), -1),
            (RepNCSPELAN4(64, 64, 64, 32, n), -1),
            (SPPELAN(64, 64, 32), -1),
            (up(), -1),
            (Concat(), [-1, 6]),
            (RepNCSPELAN4(112, 48, 48, 24, n), -1),
            (up(), -1),
            (Concat(), [-1, 4]),
            (RepNCSPELAN4(80, 32, 32, 16, n), -1),
            (down(32, 24), -1),
            (Concat(), [-1, 12]),
            (RepNCSPELAN4(72, 48, 48, 24, n), -1),
            (down(48, 32), -1),
            (Concat(), [-1, 9]),
            (RepNCSPELAN4(96, 64, 64, 32, n), -1),
            (Detect(nc, (32, 48, 64)), [15, 18, 21]),
        ],
        names={k: f"thing {k}" for k in range(nc)},
    )
