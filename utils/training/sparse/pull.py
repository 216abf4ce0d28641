"""L1 on BN gammas: what unneeded channels do not resist drives them to zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ...network.gammas import gini
from ...network.layers import ConvolutionModule
from ..optimization.schedule import Schedule

SparsityUpdate = Literal["subgradient", "prox"]
SparsitySchedule = Literal["constant", "global-decay", "local-decay", "linear"]

NEAR_ZERO = 1e-2  # a gamma below it counts as gone
VANISHED_BY = 0.5  # what `--s auto` aims at: a gamma that nothing opposes is gone half-way


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

    score: their Gini index, as sparsity.py gives it. near_zero: share of them below NEAR_ZERO; mean
    and median of |gamma|. count: candidates.
    """

    score: float

    near_zero: float
    mean: float
    median: float
    count: int


class Sparsity:
    """s * |gamma| on chosen channels.

    targets: BN weights (C,) with the mask or the positions of the channels that a strategy may
    remove. The optimizer step stands between `add_grad_` and `shrink_`; both are called once for
    it, and each acts only if `update` is its own:

    subgradient: s * sign(gamma) joins the gradients after they are accumulated, averaged over
    ranks, unscaled and clipped, so s does not depend on any of these; momentum and Adam's division
    act on it as on any gradient.
    prox: after the step each gamma moves lr * s towards zero and stops there (soft threshold, the
    proximal step of lr * s * |gamma|). It means the same with every optimizer, and zeros are exact.
    """

    def __init__(
        self,
        targets: Sequence[tuple[Tensor, Tensor]],
        s: float,
        decay: SparsityDecay | None = None,
        update: SparsityUpdate = "subgradient",
    ) -> None:
        self.s = s
        self.decay = decay or SparsityDecay()
        self.update = update
        self._gammas = [gamma for gamma, _ in targets]
        self._masks = [_as_factors(gamma, where) for gamma, where in targets]

    @torch.no_grad()
    def add_grad_(self, done: float = 0.0) -> None:
        """Add s * sign(gamma) to the gradients; frozen gammas are left alone.

        `done` (0..1) is the share of the training that is over.
        """
        if self.update == "subgradient":
            for gamma, strength in self._pulls(done):
                pull = gamma.sign() * strength
                gamma.grad = pull if gamma.grad is None else gamma.grad.add_(pull)

    @torch.no_grad()
    def shrink_(self, lr: float, done: float = 0.0) -> None:
        """Move the gammas by lr * s towards zero, at most onto it; frozen ones are left alone."""
        if self.update == "prox":
            for gamma, strength in self._pulls(done):
                gamma.copy_(gamma.sign() * (gamma.abs() - lr * strength).clamp_min(0))

    def _pulls(self, done: float) -> Iterator[tuple[Tensor, Tensor]]:
        """Each gamma that is trained, with the strength for each of its channels (C,)."""
        low, high = self.decay.factors(done)
        threshold = self._threshold() if low != high else torch.inf
        for gamma, mask in zip(self._gammas, self._masks, strict=True):
            if gamma.requires_grad:
                factor = torch.where(gamma.abs() >= threshold, high, low)
                yield gamma, mask * factor * self.s

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
            return GammaStats(0.0, 0.0, 0.0, 0.0, 0)
        near = (values < NEAR_ZERO).float().mean()
        score = gini(values.double().cpu().numpy())
        return GammaStats(
            score, float(near), float(values.mean()), float(values.median()), len(values)
        )


def gammas_by_layer(layers: nn.ModuleList) -> dict[int, Tensor]:
    """Every BN weight (C,) by the index of its layer."""
    return {
        index: layer.bn.weight.detach()
        for index, layer in enumerate(layers)
        if isinstance(layer, ConvolutionModule) and layer.bn is not None
    }


def auto_strength(
    sparsity: Sparsity, schedule: Schedule, lr0: float, by: float = VANISHED_BY
) -> float:
    """The s at which a gamma of median size that nothing opposes is gone at the share `by`.

    Such a gamma falls by lr * s in each step; as a subgradient under SGD with momentum m, by
    lr * s / (1 - m). So s = median / sum over the steps until then of lr * factor / (1 - m).
    """
    momentum = schedule.momentum if sparsity.update == "subgradient" else 0.0
    steps = range(max(1, round(by * schedule.steps)))
    rates = (
        schedule.lr_factor(step) * sparsity.decay.factors(step / schedule.steps)[0]
        for step in steps
    )
    median = sparsity.stats().median
    return median * (1 - momentum) / (lr0 * sum(rates))


def _as_factors(gamma: Tensor, where: Tensor) -> Tensor:
    """1 for the chosen channels, 0 for the others, from a mask or from positions."""
    if where.dtype == torch.bool and where.shape != gamma.shape:
        raise ValueError(f"mask of shape {tuple(where.shape)} for {tuple(gamma.shape)} channels")
    factors = torch.zeros_like(gamma, requires_grad=False)
    factors[where.to(gamma.device)] = 1
    return factors
