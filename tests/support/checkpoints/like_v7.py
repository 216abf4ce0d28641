"""YOLOv7's blocks, and YOLOv5's older ones, as like_v8 has the blocks of YOLOv8."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.support.checkpoints.like_v8 import PLACES, Bottleneck, Concat, Conv, DetectionModel

STRIDES = (8.0, 16.0, 32.0)


class MP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.m = nn.MaxPool2d(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.m(x)
        return y


class SP(MP):
    def __init__(self, k: int):
        super().__init__()
        self.m = nn.MaxPool2d(k, 1, k // 2)


class RepConv(nn.Module):
    """The input is a third branch where it can be."""

    def __init__(self, c1: int, c2: int):
        super().__init__()
        self.rbr_dense = nn.Sequential(nn.Conv2d(c1, c2, 3, 1, 1, bias=False), nn.BatchNorm2d(c2))
        self.rbr_1x1 = nn.Sequential(nn.Conv2d(c1, c2, 1, bias=False), nn.BatchNorm2d(c2))
        self.rbr_identity = nn.BatchNorm2d(c1) if c1 == c2 else None
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.rbr_dense(x) + self.rbr_1x1(x)
        z: Tensor = self.act(y if self.rbr_identity is None else y + self.rbr_identity(x))
        return z


class SPPCSPC(nn.Module):
    def __init__(self, c1: int, c2: int):
        super().__init__()
        self.cv1, self.cv2, self.cv3 = Conv(c1, c2), Conv(c1, c2), Conv(c2, c2, 3)
        self.cv4, self.cv5, self.cv6 = Conv(c2, c2), Conv(4 * c2, c2), Conv(c2, c2, 3)
        self.cv7 = Conv(2 * c2, c2)
        self.m = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in (5, 9, 13))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.cv4(self.cv3(self.cv1(x)))
        pooled = torch.cat([inner] + [pool(inner) for pool in self.m], 1)
        y: Tensor = self.cv7(torch.cat((self.cv6(self.cv5(pooled)), self.cv2(x)), 1))
        return y


def folded(x: Tensor) -> Tensor:
    """Each 2x2 pixels stacked: (B, C, H, W) -> (B, 4 C, H / 2, W / 2)."""
    return torch.cat([x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)], 1)


class ReOrg(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return folded(x)


class Focus(nn.Module):
    def __init__(self, c1: int, c2: int, k: int = 3):
        super().__init__()
        self.conv = Conv(4 * c1, c2, k)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(folded(x))
        return y


class BottleneckCSP(nn.Module):
    """YOLOv5's before C3."""

    def __init__(self, c1: int, c2: int, n: int):
        super().__init__()
        c = c2 // 2
        self.cv1, self.cv4 = Conv(c1, c), Conv(2 * c, c2)
        self.cv2, self.cv3 = nn.Conv2d(c1, c, 1, bias=False), nn.Conv2d(c, c, 1, bias=False)
        self.bn = nn.BatchNorm2d(2 * c)
        self.act = nn.LeakyReLU(0.1)
        self.m = nn.Sequential(*(Bottleneck(c, c, c, True, (1, 3)) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat((self.cv3(self.m(self.cv1(x))), self.cv2(x)), 1)
        y: Tensor = self.cv4(self.act(self.bn(both)))
        return y


class Implicit(nn.Module):
    def __init__(self, channels: int, mean: float):
        super().__init__()
        self.implicit = nn.Parameter(mean + torch.randn(1, channels, 1, 1) / 4)


class Detect(nn.Module):
    """YOLOv5's head, and YOLOv7's after training."""

    def __init__(self, nc: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.nc, self.na = nc, 3
        self.stride = torch.tensor(STRIDES)
        sizes = torch.tensor([[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119],
                              [116, 90, 156, 198, 373, 326]])  # fmt: skip
        self.register_buffer("anchors", sizes.view(3, 3, 2) / self.stride.view(3, 1, 1))
        self.m = nn.ModuleList(nn.Conv2d(c, 3 * (5 + nc), 1) for c in channels)

    def raw(self, level: int, value: Tensor) -> Tensor:
        """(B, 3 * (5 + nc), H, W) of a level."""
        y: Tensor = self.m[level](value)
        return y

    def boxes(self, values: Sequence[Tensor]) -> Tensor:
        """(B, N, 5 + nc), cell by cell as [yolo] orders them."""
        found = []
        for level, value in enumerate(values):
            stride, anchors = self.stride[level], self.anchors[level]
            s = self.raw(level, value).sigmoid()
            batch, _, rows, columns = s.shape
            s = s.view(batch, 3, -1, rows, columns).permute(0, 3, 4, 1, 2)
            ij = torch.arange(columns), torch.arange(rows)
            grid = torch.stack(torch.meshgrid(*ij, indexing="xy"), -1)
            xy = (s[..., :2] * 2 - 0.5 + grid[:, :, None]) * stride
            wh = (s[..., 2:4] * 2) ** 2 * anchors * stride
            found.append(torch.cat((xy, wh, s[..., 4:]), -1).flatten(1, 3))
        return torch.cat(found, 1)


class IDetect(Detect):
    """YOLOv7's in training: something learnt is added before, and multiplied with after it."""

    def __init__(self, nc: int, channels: Sequence[int]) -> None:
        super().__init__(nc, channels)
        self.ia = nn.ModuleList(Implicit(c, 0) for c in channels)
        self.im = nn.ModuleList(Implicit(3 * (5 + nc), 1) for _ in channels)

    def raw(self, level: int, value: Tensor) -> Tensor:
        before, after = self.ia[level].implicit, self.im[level].implicit
        y: Tensor = self.m[level](value + before) * after
        return y


PLACES["models.common"] = (BottleneckCSP, MP, SP, RepConv, SPPCSPC, ReOrg, Focus, Implicit)
PLACES["models.yolo"] = (Detect, IDetect)


def yolov7(nc: int = 3, first: nn.Module | None = None) -> DetectionModel:
    """The kinds of layers and of connections that YOLOv7 has, few and narrow; `first` folds."""

    def up() -> nn.Upsample:
        return nn.Upsample(None, 2, "nearest")

    leaky = nn.LeakyReLU(0.1)
    blocks: list[tuple[nn.Module, object]] = [
        (first or Conv(3, 12, 3, 2), -1),
        (Conv(12, 16, 3, 2), -1),
        (Conv(16, 8, act=leaky), -1),
        (Conv(16, 8, act=leaky), -2),
        (Conv(8, 8, 3), -1),
        (Concat(), [-1, -2, -3]),  # 5
        (MP(), -1),
        (Conv(24, 12), -1),
        (Conv(24, 12), -3),
        (Conv(12, 12, 3, 2), -1),
        (Concat(), [-1, -3]),  # 10, stride 8
        (Conv(24, 32, 3, 2), -1),  # 11, stride 16
        (MP(), -1),
        (SP(5), -1),
        (SP(9), -2),
        (Concat(), [-1, -2, -3]),
        (SPPCSPC(96, 32), -1),  # 16, stride 32
        (Conv(32, 16), -1),
        (up(), -1),
        (Conv(32, 16), 11),
        (Concat(), [-1, -2]),  # 20, stride 16
        (RepConv(24, 24), 10),
        (RepConv(32, 24), 20),
        (RepConv(32, 32), 16),
        (IDetect(nc, (24, 24, 32)), [21, 22, 23]),
    ]
    return DetectionModel(blocks, [f"thing {k}" for k in range(nc)])
