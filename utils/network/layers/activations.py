"""Darknet's activation functions, by name (the formulas are those of its `activations.h`).

Those of `ELEMENTWISE` work on tensors of any shape. Those of `ACROSS_CHANNELS` mix the channels of
one pixel, so a channel's value depends on all the others and none of them can be pruned.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Callable[[Tensor], Tensor]

LEAKY_SLOPE = 0.1
_CHANNEL_SUM_EPS = 1e-4


def _gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(0.797885 * x + 0.035677 * x**3))


def _hard_mish(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.where(x > -2, x * x / 2 + x, torch.zeros_like(x)))


def _lhtan(x: Tensor) -> Tensor:
    return torch.where(x < 0, 0.001 * x, torch.where(x > 1, 1 + 0.001 * (x - 1), x))


def _plse(x: Tensor) -> Tensor:
    inner = 0.125 * x + 0.5
    return torch.where(x < -4, 0.01 * (x + 4), torch.where(x > 4, 1 + 0.01 * (x - 4), inner))


def _selu(x: Tensor) -> Tensor:
    # Darknet's constants are rounded, so torch.selu would be off by 1e-5.
    return torch.where(x >= 0, 1.0507 * x, 1.0507 * 1.6732 * torch.expm1(x))


def _stair(x: Tensor) -> Tensor:
    floor = x.floor()
    half = (floor / 2).floor()
    return torch.where(floor % 2 == 0, half, x - floor + half)


ELEMENTWISE: dict[str, Activation] = {
    "linear": lambda x: x,
    "leaky": lambda x: F.leaky_relu(x, LEAKY_SLOPE),
    "revleaky": lambda x: F.leaky_relu(x, LEAKY_SLOPE),
    "logistic": torch.sigmoid,
    "loggy": lambda x: 2 * torch.sigmoid(x) - 1,
    "relu": F.relu,
    "relu6": F.relu6,
    "elu": F.elu,
    "selu": _selu,
    "gelu": _gelu,
    "relie": lambda x: F.leaky_relu(x, 0.01),
    "ramp": lambda x: F.relu(x) + 0.1 * x,
    "tanh": torch.tanh,
    "plse": _plse,
    "hardtan": F.hardtanh,
    "lhtan": _lhtan,
    "stair": _stair,
    "swish": F.silu,
    "mish": F.mish,
    "hard_mish": _hard_mish,
}


def _normalize(x: Tensor) -> Tensor:
    positive = F.relu(x)
    return positive / (_CHANNEL_SUM_EPS + positive.sum(1, keepdim=True))


def _normalize_softmax(x: Tensor) -> Tensor:
    exponential = x.exp()
    return exponential / (_CHANNEL_SUM_EPS + exponential.sum(1, keepdim=True))


def _normalize_softmax_maxval(x: Tensor) -> Tensor:
    return _normalize_softmax(x - x.amax(1, keepdim=True))


ACROSS_CHANNELS: dict[str, Activation] = {
    "normalize_channels": _normalize,
    "normalize_channels_softmax": _normalize_softmax,
    "normalize_channels_softmax_maxval": _normalize_softmax_maxval,
}


# The same functions where torch can overwrite its argument, for values nobody else reads.
IN_PLACE: dict[str, Activation] = {
    "leaky": lambda x: F.leaky_relu(x, LEAKY_SLOPE, inplace=True),
    "relu": lambda x: F.relu(x, inplace=True),
    "swish": lambda x: F.silu(x, inplace=True),
    "mish": lambda x: F.mish(x, inplace=True),
}
