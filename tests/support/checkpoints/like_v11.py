"""Attention of YOLOv10, 11, 12 and 26, in our own words, as like_v8 has the blocks of YOLOv8."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.support.checkpoints.like_v8 import PLACES, Bottleneck, Conv
from tests.support.checkpoints.like_v10 import C3k, C3k2, DWConv, linear


class Attention(nn.Module):
    """Heads of `head_dim` channels; queries and keys have half as many."""

    def __init__(self, c: int, heads: int):
        super().__init__()
        self.num_heads, self.head_dim = heads, c // heads
        self.key_dim = self.head_dim // 2
        self.scale = self.key_dim**-0.5
        self.qkv = Conv(c, c + 2 * heads * self.key_dim, act=linear())
        self.proj = Conv(c, c, act=linear())
        self.pe = DWConv(c, 3, act=linear())

    def forward(self, x: Tensor) -> Tensor:
        rows = self.qkv(x).flatten(2).unflatten(1, (self.num_heads, -1))
        q, k, v = rows.split([self.key_dim, self.key_dim, self.head_dim], 2)
        weights = torch.einsum("bhdm,bhdn->bhmn", q, k).mul(self.scale).softmax(3)
        mixed = torch.einsum("bhmn,bhdn->bhdm", weights, v).reshape(x.shape)
        y: Tensor = self.proj(mixed + self.pe(v.reshape(x.shape)))
        return y


class AAttn(nn.Module):
    """Bands of the map; all three have as many channels."""

    def __init__(self, c: int, heads: int, area: int):
        super().__init__()
        self.num_heads, self.head_dim, self.area = heads, c // heads, area
        self.qkv, self.proj = Conv(c, 3 * c, act=linear()), Conv(c, c, act=linear())
        self.pe = DWConv(c, 7, act=linear())

    def forward(self, x: Tensor) -> Tensor:
        rows = self.qkv(x).flatten(2).unflatten(1, (self.num_heads, 3, self.head_dim))
        bands = rows.unflatten(4, (self.area, -1))
        q, k, v = bands.unbind(2)
        weights = torch.einsum("bhdam,bhdan->bhamn", q, k).mul(self.head_dim**-0.5).softmax(4)
        mixed = torch.einsum("bhamn,bhdan->bhdam", weights, v)
        whole = (len(x), -1, *x.shape[2:])
        y: Tensor = self.proj(mixed.reshape(whole) + self.pe(v.reshape(whole)))
        return y


class PSABlock(nn.Module):
    def __init__(self, c: int, heads: int = 2):
        super().__init__()
        self.attn = Attention(c, heads)
        self.ffn = nn.Sequential(Conv(c, 2 * c), Conv(2 * c, c, act=linear()))
        self.add = True

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        y: Tensor = x + self.ffn(x)
        return y


class C2PSA(nn.Module):
    def __init__(self, c: int, n: int = 1):
        super().__init__()
        self.cv1, self.cv2 = Conv(c, c), Conv(c, c)
        self.m = nn.Sequential(*(PSABlock(c // 2) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.cv1(x).chunk(2, 1)
        y: Tensor = self.cv2(torch.cat((a, self.m(b)), 1))
        return y


class PSA(PSABlock):
    """The same with one block, which is itself, and always added."""

    def __init__(self, c: int):
        super().__init__(c // 2)
        del self.add
        self.cv1, self.cv2 = Conv(c, c), Conv(c, c)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.cv1(x).chunk(2, 1)
        b = b + self.attn(b)
        y: Tensor = self.cv2(torch.cat((a, b + self.ffn(b)), 1))
        return y


class ABlock(nn.Module):
    def __init__(self, c: int, heads: int, area: int):
        super().__init__()
        self.attn = AAttn(c, heads, area)
        self.mlp = nn.Sequential(Conv(c, 2 * c), Conv(2 * c, c, act=linear()))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        y: Tensor = x + self.mlp(x)
        return y


class A2C2f(nn.Module):
    """`area` 0: C3k in place of attention; `residual`: the input is added, scaled by gammas."""

    def __init__(self, c1: int, c2: int, area: int, n: int = 1, residual: bool = False):
        super().__init__()
        c = c2 // 2
        self.cv1, self.cv2 = Conv(c1, c), Conv((1 + n) * c, c2)
        self.gamma = nn.Parameter(torch.linspace(0.5, -1, c2)) if residual else None
        self.m = nn.ModuleList(self._inner(c, area) for _ in range(n))

    @staticmethod
    def _inner(c: int, area: int) -> nn.Module:
        return nn.Sequential(*(ABlock(c, 2, area) for _ in range(2))) if area else C3k(c)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.cv1(x)]
        for block in self.m:
            parts.append(block(parts[-1]))
        y: Tensor = self.cv2(torch.cat(parts, 1))
        return y if self.gamma is None else x + self.gamma.view(1, -1, 1, 1) * y


class AttendingC3k2(C3k2):
    """YOLO26's, which poses as C2f: attention behind each bottleneck."""

    def __init__(self, c: int):
        super().__init__(c, c, 1)
        inside = Bottleneck(c // 2, c // 4, c // 2, True)
        self.m = nn.ModuleList([nn.Sequential(inside, PSABlock(c // 2))])


AttendingC3k2.__name__ = AttendingC3k2.__qualname__ = "C2fPruned"
PLACES["ultralytics.nn.modules.block"] += (
    A2C2f, AAttn, ABlock, Attention, AttendingC3k2, C2PSA, PSA, PSABlock,
)  # fmt: skip
