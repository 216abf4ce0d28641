"""One score per output channel: how much the network would miss it."""

from __future__ import annotations

from .batch_norm import batch_norm_scale, expected_activation, expected_change, mean_magnitude
from .kernels import fpgm, kernel_scores, l1, l2, lamp, random_scores
from .kinds import IMPORTANCES, Importance, Kind
from .scores import Normalization, Scores, Values, normalize
from .taylor import taylor

__all__ = [
    "IMPORTANCES",
    "Importance",
    "Kind",
    "Normalization",
    "Scores",
    "Values",
    "batch_norm_scale",
    "expected_activation",
    "expected_change",
    "fpgm",
    "kernel_scores",
    "l1",
    "l2",
    "lamp",
    "mean_magnitude",
    "normalize",
    "random_scores",
    "taylor",
]
