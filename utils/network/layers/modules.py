"""The modules of layers with parameters. They are torch's own kind, so this file loads torch.

So layers import it where they build or run a module: shapes, channels and costs need none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .base import PaddingMode
from .normalization import BN_EPS, BN_MOMENTUM, folded


class DarknetBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d with Darknet's constants and only the four arrays that a file holds."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=BN_EPS, momentum=BN_MOMENTUM)
        self.num_batches_tracked = None

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        # Without a version torch would add the counter of batches that was taken out above.
        super()._load_from_state_dict(state_dict, prefix, {**local_metadata, "version": 2}, *rest)


class ConvolutionModule(nn.Module):
    """`conv` and, unless `normalized` is false or it has been fused, `bn`.


    initial: all weights before a training from random ones; None: these are drawn. int8: what
    rounds its kernel and its sum, where they are (see `network/int8`).
    """

    def __init__(
        self, conv: nn.Conv2d, bn: DarknetBatchNorm | None, initial: float | None = None
    ) -> None:
        super().__init__()
        self.conv = conv
        self.bn = bn
        self.initial = initial
        self.int8: Any = None

    def kernel(self) -> tuple[Tensor, Tensor | None]:
        """Its kernel and bias; in int8 they are rounded, and hold the normalisation."""
        if self.int8 is None:
            return self.conv.weight, self.conv.bias
        found: tuple[Tensor, Tensor | None] = self.int8.kernel(self.conv, self.bn)
        return found

    @torch.no_grad()
    def fuse(self) -> None:
        """Fold the batch normalisation into the convolution, in place, computed in float64."""
        if self.bn is None:
            return
        kernel, bias = folded(self.state_dict(), self.bn.eps)
        weight = self.conv.weight
        weight.copy_(kernel.to(weight.dtype))
        self.conv.bias = nn.Parameter(bias.to(weight.dtype), requires_grad=weight.requires_grad)
        self.bn = None


class ConnectedModule(nn.Module):
    """`fc` and, if normalized, `bn`."""

    def __init__(self, fc: nn.Linear, bn: DarknetBatchNorm | None) -> None:
        super().__init__()
        self.fc = fc
        self.bn = bn


class NormModule(nn.Module):
    """`bn` alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = DarknetBatchNorm(channels)


class BlurredModule(nn.Module):
    """No parameters; it remembers how a blur is to be padded."""

    def __init__(self, padding_mode: PaddingMode) -> None:
        super().__init__()
        self.padding_mode = padding_mode
