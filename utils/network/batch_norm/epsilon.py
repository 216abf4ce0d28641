"""Batch normalisation for runtimes that add another epsilon to the variance than Darknet.

Darknet divides by sqrt(variance + 1e-5), OpenCV 4 by sqrt(variance + 1e-6). Sparse training leaves
channels of tiny variance, where that is the difference between right and wrong boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from ..later_state import LaterState
from ..layers import Layer
from ..layers.normalization import BN_EPS
from ..options import BnEpsilon
from ..weights import key_of, split_state

Later = dict[str, Callable[[], Tensor]]
OPENCV_BN_EPS = 1e-6
_LEAST_DEVIATION = 4.0  # then an epsilon of 1e-5 is 3e-7 of the deviation, below float32's grain


def for_epsilon(
    state: Mapping[str, Tensor], layers: Sequence[Layer], epsilon: BnEpsilon
) -> Mapping[str, Tensor]:
    """A state that computes the same where another epsilon is added to the variances.

    darknet: unchanged. opencv: each variance grows by the 9e-6 that OpenCV leaves out; such a file
    is for OpenCV alone. any: each channel's kernel, mean and deviation are multiplied by the power
    of two that makes its deviation at least 4, which no epsilon changes; the result is the same in
    every runtime, but kernels of another size train differently: keep the original for finetuning.
    Kernels are multiplied each time they are asked for: `state` must stay as it is.
    """
    changed: dict[str, Callable[[], Tensor]] = {}
    for layer, params in zip(layers, split_state(state, layers), strict=True):
        if layer.owner != layer.index or "bn.running_var" not in params or epsilon == "darknet":
            continue
        new = _shifted(params) if epsilon == "opencv" else _scaled(params)
        changed |= {key_of(layer.index, name): made for name, made in new.items()}
    return LaterState(state, changed)


def _shifted(params: Mapping[str, Tensor]) -> Later:
    variance = params["bn.running_var"]
    shifted = (variance.double() + BN_EPS - OPENCV_BN_EPS).to(variance.dtype)
    return {"bn.running_var": lambda: shifted}


def _scaled(params: Mapping[str, Tensor]) -> Later:
    kernels = [name for name, tensor in params.items() if tensor.dim() > 1]
    if not kernels:
        return {}  # a [batchnorm] on its own has no kernel to scale
    variance = params["bn.running_var"]
    whole = variance.double() + BN_EPS
    # Powers of two leave the mantissas of kernel and mean as they are.
    factor = torch.exp2((_LEAST_DEVIATION / whole.sqrt()).log2().ceil()).clamp(min=1.0)
    (kernel,) = kernels
    shape = (-1, *(1,) * (params[kernel].dim() - 1))
    mean = params["bn.running_mean"] * factor.to(variance.dtype)
    scaled = (factor**2 * whole - BN_EPS).to(variance.dtype)
    return {
        kernel: partial(torch.mul, params[kernel], factor.to(variance.dtype).view(shape)),
        "bn.running_mean": lambda: mean,
        "bn.running_var": lambda: scaled,
    }
