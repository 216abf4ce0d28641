"""Starting values of a network that trains from random weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .layers import Head
from .layers.modules import ConvolutionModule

_HEAD_STD = 0.01


@torch.no_grad()
def initialize(layers: nn.ModuleList, heads: Sequence[Head]) -> None:
    """Kaiming-normal kernels, or what a note says; heads that see background, centred anchors.

    Draws from torch's global generator. BN keeps its gamma 1, beta 0.
    """
    for module in layers:
        if isinstance(module, ConvolutionModule):
            if module.initial is None:
                nn.init.kaiming_normal_(module.conv.weight, a=0.1, nonlinearity="leaky_relu")
            else:
                nn.init.constant_(module.conv.weight, module.initial)
            if module.conv.bias is not None:
                nn.init.zeros_(module.conv.bias)
    for head in heads:
        for source in head.sources:
            module = layers[source]
            if isinstance(module, ConvolutionModule) and module.conv.bias is not None:
                nn.init.normal_(module.conv.weight, std=_HEAD_STD)
                head.set_priors_(source, module.conv.bias)
