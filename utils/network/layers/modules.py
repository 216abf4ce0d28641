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


class BlankConv2d(nn.Conv2d):
    """A convolution that draws no numbers where it has no memory for them (device "meta").

    torch goes through all of drawing there as well, which takes a third of building a network.
    """

    def reset_parameters(self) -> None:
        """Random numbers, where there is memory for them."""
        if not self.weight.is_meta:
            super().reset_parameters()


class SteadyConv2d(BlankConv2d):
    """A convolution by oneDNN, whose result for an image does not depend on the batch it is in.

    PyTorch has another kernel for few numbers (a single image, a small map), which rounds
    differently.
    """

    @staticmethod
    def of(conv: nn.Conv2d) -> SteadyConv2d:
        """The same convolution, with the same parameters."""
        steady = SteadyConv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size,  # type: ignore[arg-type]
            conv.stride, conv.padding, conv.dilation, conv.groups,  # type: ignore[arg-type]
            conv.bias is not None, conv.padding_mode, device="meta",
        )  # fmt: skip
        steady.weight, steady.bias = conv.weight, conv.bias
        return steady

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, filters, H', W')."""
        plain = self.padding_mode == "zeros" and not isinstance(self.padding, str)
        traced = torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined,no-untyped-call]
        if traced or not plain or x.device.type != "cpu" or x.dtype != torch.float32:
            return super().forward(x)
        return torch.mkldnn_convolution(
            x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups  # type: ignore[arg-type]
        )  # fmt: skip


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

    def steady(self) -> None:
        """For inference on a CPU: the same bits for an image in any batch (see SteadyConv2d)."""
        if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            self.conv = SteadyConv2d.of(self.conv)


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
