"""Starting values of a network that trains from random weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .layers import ConvolutionModule, Dfl, Head, Yolo

OBJECTNESS_PRIOR = 0.01  # share of anchors with an object, as RetinaNet's prior (arXiv:1708.02002)
_HEAD_STD = 0.01


@torch.no_grad()
def initialize(layers: nn.ModuleList, heads: Sequence[Head]) -> None:
    """Kaiming-normal kernels; heads that start out by seeing background, centred anchors.

    Draws from torch's global generator. BN keeps its gamma 1, beta 0.
    """
    for module in layers:
        if isinstance(module, ConvolutionModule):
            nn.init.kaiming_normal_(module.conv.weight, a=0.1, nonlinearity="leaky_relu")
            if module.conv.bias is not None:
                nn.init.zeros_(module.conv.bias)
    for head in heads:
        for source in head.sources:
            module = layers[source]
            if not isinstance(module, ConvolutionModule) or module.conv.bias is None:
                continue
            nn.init.normal_(module.conv.weight, std=_HEAD_STD)
            # Squared errors of a logistic, as [region] has, go nowhere from where it saturates.
            if isinstance(head, Yolo):
                _set_priors(module.conv.bias, head)
            if isinstance(head, Dfl) and source == head.sources[-1]:
                module.conv.bias.fill_(_logit(_class_prior(head)))


def _set_priors(bias: Tensor, head: Yolo) -> None:
    """Bias (n * entries,): objectness at its prior, each class at 1 / nc."""
    entries = bias.view(len(head.mask), head.entries)
    entries[:, head.objectness_entry] = _logit(OBJECTNESS_PRIOR)
    # A single class is certain: leave it where its gradient is already small.
    entries[:, head.entries - head.nc :] = _logit(min(1 / head.nc, 0.9))


def _class_prior(head: Dfl) -> float:
    """Some 5 objects per image of 640 px, of any class, among the cells of the level."""
    cells = (640 / head.stride_px) ** 2
    return min(0.5, 5 / head.nc / cells)


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
