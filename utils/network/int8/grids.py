"""Fake quantization: numbers rounded to what 8 bits can say, with gradients that pass through.

Values take a scale and a zero point for the whole tensor, kernels a scale for each output channel
and no zero point. The rounding and its gradient (straight through, 0 where a value is clipped)
are torch's own `fake_quantize_*`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 255  # of a value: integers from 0
# Of a kernel: -64..64. A processor with AVX2 and no VNNI adds pairs of products of a value and a
# kernel's number in 16 bits, where 2 * 255 * 127 has no room and 2 * 255 * 64 has.
KERNEL_LEVELS = 64
AVERAGING = 0.01  # weight of a batch in the range that a training goes on measuring
_SMALLEST_SCALE = 1e-12


def scale_and_zero(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The grid that covers [low, high] and 0, as one number each: float32 step, int32 zero point.

    0 lies on it: padding and what a ReLU cuts off are exact.
    """
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    scale = ((high - low) / LEVELS).clamp(min=_SMALLEST_SCALE)
    return scale, (-low / scale).round().clamp(0, LEVELS).to(torch.int32)


def kernel_scales(kernel: Tensor) -> Tensor:
    """(O,): the step of each output channel of a kernel (O, I, H, W)."""
    largest = kernel.detach().abs().amax(tuple(range(1, kernel.dim())))
    return (largest / KERNEL_LEVELS).clamp(min=_SMALLEST_SCALE)


def rounded_kernel(kernel: Tensor) -> Tensor:
    """A kernel on its grid."""
    scales = kernel_scales(kernel)
    zeros = torch.zeros_like(scales, dtype=torch.int32)
    limits = (-KERNEL_LEVELS, KERNEL_LEVELS)
    found: Tensor = torch.fake_quantize_per_channel_affine(kernel, scales, zeros, 0, *limits)
    return found


class Grid(nn.Module):
    """Rounds a value to the grid of its range; as it trains, it goes on measuring the range.

    The range is no part of the state: that stays the one of the network in float.
    """

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.measures_only = False  # for the first ranges: the value passes as it is
        self.register_buffer("low", torch.tensor(float("inf")), persistent=False)
        self.register_buffer("high", torch.tensor(float("-inf")), persistent=False)

    @property
    def known(self) -> bool:
        """Whether any value was measured."""
        return bool(self.low <= self.high)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if self.training or self.measures_only:
            self._measure(x.detach())
        if self.measures_only:
            return x
        scale, zero = scale_and_zero(self.low, self.high)
        found: Tensor = torch.fake_quantize_per_tensor_affine(x.float(), scale, zero, 0, LEVELS)
        return found

    def _measure(self, x: Tensor) -> None:
        low, high = torch.aminmax(x)
        if not self.known:
            self.low.copy_(low)
            self.high.copy_(high)
            return
        self.low.lerp_(low.float(), AVERAGING)
        self.high.lerp_(high.float(), AVERAGING)


class KernelGrid(nn.Module):
    """Of a convolution: its kernel with the normalisation folded in, and its sum, on grids.

    The normalisation takes its stored statistics in training as well: what trains is what a
    runtime gets. `before`: of the sum ahead of the activation; None leaves it in float.
    """

    def __init__(self, before: Grid | None) -> None:
        super().__init__()
        self.before = before

    def kernel(self, conv: nn.Conv2d, bn: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor | None]:
        """Kernel on its grid, and bias, for a convolution without normalisation."""
        if bn is None:
            return rounded_kernel(conv.weight), conv.bias
        assert bn.running_var is not None and bn.running_mean is not None
        gain = bn.weight / (bn.running_var + bn.eps).sqrt()
        folded = conv.weight * gain.view(-1, 1, 1, 1)
        return rounded_kernel(folded), bn.bias - bn.running_mean * gain

    def forward(self, x: Tensor) -> Tensor:
        """The sum, on its grid."""
        found: Tensor = x if self.before is None else self.before(x)
        return found
