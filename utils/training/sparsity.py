"""L1 on BN gammas by its subgradient: what unneeded channels do not resist drives them to zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..layers import ConvolutionModule

SparsitySchedule = Literal["constant", "linear"]

NEAR_ZERO = 1e-2  # a gamma below it counts as gone


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

    def __init__(self, targets: Sequence[tuple[Tensor, Tensor]], s: float) -> None:
        self.s = s
        self._gammas = [gamma for gamma, _ in targets]
        self._masks = [_as_factors(gamma, where) for gamma, where in targets]

    @torch.no_grad()
    def add_grad_(self, factor: float = 1.0) -> None:
        """Add factor * s * sign(gamma) to the gradients; frozen gammas are left alone."""
        for gamma, mask in zip(self._gammas, self._masks, strict=True):
            if gamma.requires_grad:
                pull = gamma.sign() * mask * (factor * self.s)
                gamma.grad = pull if gamma.grad is None else gamma.grad.add_(pull)

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
