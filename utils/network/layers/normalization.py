"""Batch normalisation as Darknet computes it, alone and behind a convolution."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .base import Params

BN_EPS = 1e-5  # inside the root
BN_MOMENTUM = 0.1

# File order behind a convolution: Darknet's biases, scales, rolling_mean, rolling_variance.
BN_FIELDS = ("bn.bias", "bn.weight", "bn.running_mean", "bn.running_var")


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


def slice_batch_norm(params: Params, kept: Tensor) -> dict[str, Tensor]:
    """The four arrays (C,) at the kept channels."""
    return {name: params[name][kept] for name in BN_FIELDS}


def folded(params: Params, eps: float = BN_EPS) -> tuple[Tensor, Tensor]:
    """Kernel and bias, in float64, of the convolution that does all that it and its BN do."""
    deviation = (params["bn.running_var"].double() + eps).sqrt()
    scale = params["bn.weight"].double() / deviation
    bias = params["bn.bias"].double() - scale * params["bn.running_mean"].double()
    return params["conv.weight"].double() * scale.view(-1, 1, 1, 1), bias


def shift_mean(params: Params, shift: Tensor) -> Params:
    """Params with `shift` (C,) added to the running mean."""
    mean = params["bn.running_mean"]
    return {**params, "bn.running_mean": (mean.double() + shift).to(mean.dtype)}
