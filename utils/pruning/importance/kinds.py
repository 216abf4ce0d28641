"""From an importance's name to its scores, for those that the weights alone give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from ...network.graph import ChannelGraph
from .batch_norm import batch_norm_scale, expected_activation
from .kernels import KernelScore, fpgm, kernel_scores, l1, l2, lamp
from .options import Kind
from .scores import Scores

FromState = Callable[[ChannelGraph, Mapping[str, Tensor]], Scores]


def _of_kernels(score: KernelScore) -> FromState:
    return partial(kernel_scores, score=score)


FROM_STATE: dict[Kind, FromState] = {
    "bn": batch_norm_scale,
    "bn-act": expected_activation,
    "l1": _of_kernels(l1),
    "l2": _of_kernels(l2),
    "fpgm": _of_kernels(fpgm),
    "lamp": _of_kernels(lamp),
}
