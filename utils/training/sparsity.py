"""L1 on BN gammas by its subgradient: what unneeded channels do not resist drives them to zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..layers import ConvolutionModule

SparsitySchedule = Literal["constant", "global-decay", "local-decay", "linear"]

NEAR_ZERO = 1e-2  # a gamma below it counts as gone


@dataclass(frozen=True)
class SparsityDecay:
    """How the pull changes in the course of a training.

    linear: falls to a tenth, so that gammas part early and what is left recovers late (the
    published recipe for slimming YOLOv8). global-decay: `factor` of it once the share `at` of the
    training is over. local-decay: from then on only for the gammas above the percentile
    `keep_percent` of all candidates, which are the ones that will stay.
    """

    kind: SparsitySchedule = "constant"
    at: float = 0.5
    factor: float = 0.01
    keep_percent: float = 0.85

    def factors(self, done: float) -> tuple[float, float]:
        """Factors of s for the gammas below and above the percentile, at the share `done`."""
        if self.kind == "linear":
            return 1.0 - 0.9 * done, 1.0 - 0.9 * done
        if self.kind == "constant" or done <= self.at:
            return 1.0, 1.0
        return (1.0 if self.kind == "local-decay" else self.factor), self.factor


@dataclass(frozen=True)
class GammaStats:
    """How sparse the candidates' |gamma| are.

    near_zero: share of them below NEAR_ZERO; mean and median of |gamma|. count: candidates.
    """

    near_zero: float
    mean: float
    median: float
    count: int


class Sparsity:
    """s * sign(gamma) on chosen channels.

    targets: BN weights (C,) with the mask or the positions of the channels that a strategy may
    remove. `add_grad_` is called once per optimizer step, after gradients are accumulated, averaged
    over ranks, unscaled and clipped: so s does not depend on any of these.
    """

    def __init__(
        self,
        targets: Sequence[tuple[Tensor, Tensor]],
        s: float,
        decay: SparsityDecay | None = None,
    ) -> None:
        self.s = s
        self.decay = decay or SparsityDecay()
        self._gammas = [gamma for gamma, _ in targets]
        self._masks = [_as_factors(gamma, where) for gamma, where in targets]

    @torch.no_grad()
    def add_grad_(self, done: float = 0.0) -> None:
        """Add s * sign(gamma) to the gradients; frozen gammas are left alone.

        `done` (0..1) is the share of the training that is over.
        """
        low, high = self.decay.factors(done)
        threshold = self._threshold() if low != high else torch.inf
        for gamma, mask in zip(self._gammas, self._masks, strict=True):
            if gamma.requires_grad:
                factor = torch.where(gamma.abs() >= threshold, high, low)
                pull = gamma.sign() * mask * factor * self.s
                gamma.grad = pull if gamma.grad is None else gamma.grad.add_(pull)

    def _threshold(self) -> Tensor:
        values = self.magnitudes().sort().values
        return values[min(len(values) - 1, int(self.decay.keep_percent * len(values)))]

    @torch.no_grad()
    def magnitudes(self) -> Tensor:
        """|gamma| of all candidates in one vector (N,)."""
        pairs = zip(self._gammas, self._masks, strict=True)
        parts = [gamma.detach().abs()[mask > 0] for gamma, mask in pairs]
        return torch.cat(parts) if parts else torch.zeros(0)

    def stats(self) -> GammaStats:
        """Summary of `magnitudes`; zeros when there are no candidates."""
        values = self.magnitudes()
        if not len(values):
            return GammaStats(0.0, 0.0, 0.0, 0)
        near = (values < NEAR_ZERO).float().mean()
        return GammaStats(float(near), float(values.mean()), float(values.median()), len(values))


def gammas_by_layer(layers: nn.ModuleList) -> dict[int, Tensor]:
    """Every BN weight (C,) by the index of its layer."""
    return {
        index: layer.bn.weight.detach()
        for index, layer in enumerate(layers)
        if isinstance(layer, ConvolutionModule) and layer.bn is not None
    }


def schedule_factor(kind: SparsitySchedule, done: float) -> float:
    """Factor of s when the share `done` (0..1) of the training is over.

    linear: falls to a tenth. Gammas part early, and what is left recovers late (the published
    recipe for slimming YOLOv8).
    """
    return 1.0 if kind == "constant" else 1.0 - 0.9 * done


def _as_factors(gamma: Tensor, where: Tensor) -> Tensor:
    """1 for the chosen channels, 0 for the others, from a mask or from positions."""
    if where.dtype == torch.bool and where.shape != gamma.shape:
        raise ValueError(f"mask of shape {tuple(where.shape)} for {tuple(gamma.shape)} channels")
    factors = torch.zeros_like(gamma, requires_grad=False)
    factors[where.to(gamma.device)] = 1
    return factors
