"""A small network with two of YOLOv8's heads, and values that its heads may get."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from tests.support.nets import conv, net, section
from utils.cfg import Cfg
from utils.cfg.head_note import HEAD_NOTE, dfl_note
from utils.network.layers import Dfl, build_layers

NC, BINS = 3, 16


def branch(filters: int) -> str:
    """A hidden convolution and the last one, which has a bias and nothing else."""
    return conv(8, activation="swish") + conv(filters, 1, batch_normalize=None, activation="linear")


def note(level: int, nc: int = NC, **changes: object) -> str:
    """The comment that makes a `[route]` a head; `changes` make it say something else."""
    values = {**dfl_note(level, 2, 8 * 2**level, BINS, nc), **changes}
    return f"# darkslim {HEAD_NOTE} {json.dumps(values)}\n"


def head(level: int, nc: int = NC, **changes: object) -> str:
    """Behind any layer: box branch, class branch, the [route] with its note."""
    boxes = branch(4 * BINS)
    classes = section("route", layers=-3) + branch(nc)
    joined = f"[route]\n{note(level, nc, **changes)}layers=-4,-1\n\n"
    return boxes + classes + joined


def two_levels() -> Cfg:
    """Strides 4 and 8: a block that can go, both halves of a C2f, two heads."""
    stem = conv(8, stride=2, activation="swish") + conv(12, stride=2, activation="swish")
    halves = conv(6, 1, activation="swish") + section("route", layers=-2)
    halves += conv(6, 1, activation="swish")
    block = conv(6, activation="swish") + conv(6, activation="swish") + section("shortcut", frm=-3)
    join = section("route", layers="2,4,7") + conv(10, 1, activation="swish")
    down = section("route", layers=9) + conv(9, stride=2, activation="swish")
    return net(stem, halves, block, join, head(0), down, head(1), width=64, height=48)


def dfl_heads(cfg: Cfg) -> list[Dfl]:
    """The heads of a cfg, in its order."""
    return [layer for layer in build_layers(cfg) if isinstance(layer, Dfl)]


def two_heads() -> list[Dfl]:
    """The heads of `two_levels`."""
    return dfl_heads(two_levels())


def raw_heads(seed: int, batch: int = 2) -> list[Tensor]:
    """Normal numbers in place of what the heads of `two_levels` read at 64 x 48 pixels."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, 67, 12, 16), (batch, 67, 6, 8)]
    return [(2 * torch.randn(s, generator=generator)).requires_grad_() for s in shapes]
