"""Darknet's activation functions, by name (the formulas are those of its `activations.h`).

Those of `ELEMENTWISE` work on tensors of any shape. Those of `ACROSS_CHANNELS` mix the channels of
one pixel, so a channel's value depends on all the others and none of them can be pruned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

Activation: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"

LEAKY_SLOPE = 0.1
_CHANNEL_SUM_EPS = 1e-4


def _gelu(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh(0.797885 * x + 0.035677 * x**3))


def _hard_mish(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0, x, torch.where(x > -2, x * x / 2 + x, torch.zeros_like(x)))


def _lhtan(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 0, 0.001 * x, torch.where(x > 1, 1 + 0.001 * (x - 1), x))


def _plse(x: torch.Tensor) -> torch.Tensor:
    inner = 0.125 * x + 0.5
    return torch.where(x < -4, 0.01 * (x + 4), torch.where(x > 4, 1 + 0.01 * (x - 4), inner))


def _selu(x: torch.Tensor) -> torch.Tensor:
    # Darknet's constants are rounded, so torch.selu would be off by 1e-5.
    return torch.where(x >= 0, 1.0507 * x, 1.0507 * 1.6732 * torch.expm1(x))


def _stair(x: torch.Tensor) -> torch.Tensor:
    floor = x.floor()
    half = (floor / 2).floor()
    return torch.where(floor % 2 == 0, half, x - floor + half)


# Their names say what a cfg may ask for, so torch itself is touched by calls alone.
ELEMENTWISE: dict[str, Activation] = {
    "linear": lambda x: x,
    "leaky": lambda x: torch.nn.functional.leaky_relu(x, LEAKY_SLOPE),
    "revleaky": lambda x: torch.nn.functional.leaky_relu(x, LEAKY_SLOPE),
    "logistic": lambda x: torch.sigmoid(x),
    "loggy": lambda x: 2 * torch.sigmoid(x) - 1,
    "relu": lambda x: torch.nn.functional.relu(x),
    "relu6": lambda x: torch.nn.functional.relu6(x),
    "elu": lambda x: torch.nn.functional.elu(x),
    "selu": _selu,
    "gelu": _gelu,
    "relie": lambda x: torch.nn.functional.leaky_relu(x, 0.01),
    "ramp": lambda x: torch.nn.functional.relu(x) + 0.1 * x,
    "tanh": lambda x: torch.tanh(x),
    "plse": _plse,
    "hardtan": lambda x: torch.nn.functional.hardtanh(x),
    "lhtan": _lhtan,
    "stair": _stair,
    "swish": lambda x: torch.nn.functional.silu(x),
    "mish": lambda x: torch.nn.functional.mish(x),
    "hard_mish": _hard_mish,
}


def _normalize(x: torch.Tensor) -> torch.Tensor:
    positive = torch.nn.functional.relu(x)
    return positive / (_CHANNEL_SUM_EPS + positive.sum(1, keepdim=True))


def _normalize_softmax(x: torch.Tensor) -> torch.Tensor:
    exponential = x.exp()
    return exponential / (_CHANNEL_SUM_EPS + exponential.sum(1, keepdim=True))


def _normalize_softmax_maxval(x: torch.Tensor) -> torch.Tensor:
    return _normalize_softmax(x - x.amax(1, keepdim=True))


ACROSS_CHANNELS: dict[str, Activation] = {
    "normalize_channels": _normalize,
    "normalize_channels_softmax": _normalize_softmax,
    "normalize_channels_softmax_maxval": _normalize_softmax_maxval,
}


# The same functions where torch can overwrite its argument, for values nobody else reads.
IN_PLACE: dict[str, Activation] = {
    "leaky": lambda x: torch.nn.functional.leaky_relu(x, LEAKY_SLOPE, inplace=True),
    "relu": lambda x: torch.nn.functional.relu(x, inplace=True),
    "swish": lambda x: torch.nn.functional.silu(x, inplace=True),
    "mish": lambda x: torch.nn.functional.mish(x, inplace=True),
}
