"""The kinds of importance by their names, as `--importance` has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor

from ...network.graph import ChannelGraph
from .batch_norm import batch_norm_scale, expected_activation
from .kernels import KernelScore, fpgm, kernel_scores, l1, l2, lamp
from .scores import Normalization, Scores

Kind = Literal["bn", "bn-act", "l1", "l2", "fpgm", "taylor", "lamp", "random"]
FromState = Callable[[ChannelGraph, Mapping[str, Tensor]], Scores]


@dataclass(frozen=True)
class Importance:
    """One kind: what a score is, and how layers are made comparable unless a user says so.

    from_state is None for kinds that need more than the weights.
    """

    meaning: str
    from_state: FromState | None
    normalization: Normalization = "none"


def _of_kernels(score: KernelScore) -> FromState:
    return partial(kernel_scores, score=score)


# A sum over a kernel grows with the kernel's size, and a sum of distances with the layer's too:
# without a common scale whole layers would go before the first channel of others.
IMPORTANCES: dict[Kind, Importance] = {
    "bn": Importance("|gamma|", batch_norm_scale),
    "bn-act": Importance("E|activation|", expected_activation),
    "l1": Importance("kernel's L1 norm", _of_kernels(l1), "layer"),
    "l2": Importance("kernel's L2 norm", _of_kernels(l2), "layer"),
    "fpgm": Importance("distance to the other kernels", _of_kernels(fpgm), "layer"),
    "taylor": Importance("|gamma dL/dgamma|", None),
    "lamp": Importance("LAMP score", _of_kernels(lamp)),
    "random": Importance("random number", None),
}
