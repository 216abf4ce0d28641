"""L1 on BN gammas: what unneeded channels do not resist drives them to zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...network.batch_norm.gammas import gini
from ...network.cost import short_count
from ...network.layers.modules import ConvolutionModule
from ..optimization.schedule import Schedule
from .options import SparsityDecay, SparsityUpdate

NEAR_ZERO = 1e-2  # a gamma below it counts as gone
VANISHED_BY = 0.5  # what `--s auto` aims at: a gamma that nothing opposes is gone half-way

Targets = Sequence[tuple[Tensor, Tensor]]  # see Sparsity


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
        targets: Targets,
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

    @property
    def said(self) -> str:
        """What is pulled, and how many."""
        return f"{short_count(len(self.magnitudes()))} gammas"

    def schedule(self, done: float) -> tuple[float, float]:
        """Factors of s at the share `done`: of gammas below and above the percentile."""
        return self.decay.factors(done)

    def strength_for(self, total: float) -> float:
        """The s with which a gamma of median size is gone; `total`: sum of its steps for s = 1."""
        return self.stats().median / total

    def columns(self) -> dict[str, float]:
        """More for results.csv than what `stats` says."""
        return {}

    def _pulls(self, done: float) -> Iterator[tuple[Tensor, Tensor]]:
        """Each gamma that is trained, with the strength for each of its channels (C,)."""
        low, high = self.schedule(done)
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
    """The s at which what nothing opposes is gone at the share `by`: a gamma of median size.

    Such a gamma falls by lr * s in each step; as a subgradient under SGD with momentum m, by
    lr * s / (1 - m). So s = median / sum over the steps until then of lr * factor / (1 - m). A
    whole channel falls by such a share of itself, to NEAR_ZERO of it.
    """
    momentum = schedule.momentum if sparsity.update == "subgradient" else 0.0
    steps = range(max(1, round(by * schedule.steps)))
    rates = (
        schedule.lr_factor(step) * sparsity.schedule(step / schedule.steps)[0] for step in steps
    )
    return sparsity.strength_for(lr0 * sum(rates) / (1 - momentum))


def _as_factors(gamma: Tensor, where: Tensor) -> Tensor:
    """1 for the chosen channels, 0 for the others, from a mask or from positions."""
    if where.dtype == torch.bool and where.shape != gamma.shape:
        raise ValueError(f"mask of shape {tuple(where.shape)} for {tuple(gamma.shape)} channels")
    factors = torch.zeros_like(gamma, requires_grad=False)
    factors[where.to(gamma.device)] = 1
    return factors
