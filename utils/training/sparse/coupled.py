"""The pull on all weights that go with a channel: for nets whose gammas say nothing.

The norm of a channel k is that of everything that a prune would take with it: its filters in all
layers that issue it, their gammas, betas and biases, and the slices of the kernels that read it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .options import SparsityDecay, SparsityOptions, SparsityUpdate
from .pull import NEAR_ZERO, Sparsity, Targets

ALPHA = 4.0  # of the group norm's factors, which lie in 1..2^ALPHA
GROWTHS = 100  # steps in which the growing factor comes to its full size


@dataclass(frozen=True)
class CoupledLayer:
    """A kernel (O, I / groups, h, w), its other weights (O,), and the channels that they go with.

    inputs: of the I input channels; None where each is the output of the same place (depthwise).
    """

    kernel: Tensor
    others: tuple[Tensor, ...]
    outputs: Tensor
    inputs: Tensor | None
    groups: int = 1


@dataclass(frozen=True)
class Coupled:
    """The layers; of each channel (N,) the number of its group, and whether it is pulled.

    gammas: those of the pulled channels, to tell how sparse they are.
    """

    layers: tuple[CoupledLayer, ...]
    group: Tensor
    pulled: Tensor
    gammas: Targets


class CoupledPull(Sparsity):
    """s / 2 * sum over the pulled channels k of f_k |w_k|^2, w_k all weights that go with k.

    "group-norm": f_k = 2^(4 (M - I_k) / (M - m)), I_k = |w_k|^2, M and m the largest and smallest
    I of the pulled channels of k's group; f is no function of the weights when the gradient is
    taken. Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, section 3.4.
    "growing": f_k grows for all in equal steps, from 1 / GROWTHS to 1 at the end. Wang et al.,
    "Neural Pruning via Growing Regularization", ICLR 2021, section 3.2 (GReg-1).

    A weight that goes with two channels, as a kernel's between them, is pulled for both. Updates:
    subgradient adds s f_k w to the gradient; prox divides w by 1 + lr s f_k after the step, which
    is the proximal step of lr times the penalty. Nothing is remembered from step to step.
    """

    def __init__(
        self,
        coupled: Coupled,
        s: float,
        decay: SparsityDecay | None = None,
        update: SparsityUpdate = "subgradient",
        growing: bool = False,
    ) -> None:
        super().__init__(coupled.gammas, s, decay, update)
        self.growing = growing
        device = coupled.layers[0].kernel.device if coupled.layers else torch.device("cpu")
        self._layers = [_placed(layer, device) for layer in coupled.layers]
        self._group, self._pulled = coupled.group.to(device), coupled.pulled.to(device)

    @property
    def said(self) -> str:
        """What is pulled, and how many."""
        return f"{int(self._pulled.sum())} channels with all their weights"

    @torch.no_grad()
    def add_grad_(self, done: float = 0.0) -> None:
        """Add the penalty's gradient; frozen weights are left alone."""
        if self.update != "subgradient":
            return
        for weights, factor in self._factors(done):
            if weights.grad is None:
                weights.grad = weights * factor
            else:
                weights.grad.addcmul_(weights, factor)

    @torch.no_grad()
    def shrink_(self, lr: float, done: float = 0.0) -> None:
        """Take the proximal step; frozen weights are left alone."""
        if self.update == "prox":
            for weights, factor in self._factors(done):
                weights.div_(factor.mul_(lr).add_(1))

    def strength_for(self, total: float) -> float:
        """The s with which a channel that is pulled the most falls to NEAR_ZERO of its size."""
        return math.log(1 / NEAR_ZERO) / (total * (1.0 if self.growing else 2.0**ALPHA))

    def schedule(self, done: float) -> tuple[float, float]:
        """As of all pulls; a growing one has its own."""
        if not self.growing:
            return super().schedule(done)
        grown = min(1.0, (math.floor(done * GROWTHS) + 1) / GROWTHS)
        return grown, grown

    @torch.no_grad()
    def sizes(self) -> Tensor:
        """|w_k| of the pulled channels, as a share of the largest of their group (P,)."""
        squares = self._squares()
        most = self._of_groups(squares, torch.ones_like(self._pulled), "amax")
        return (squares / most.clamp_min(1e-30))[self._pulled].sqrt()

    def columns(self) -> dict[str, float]:
        """For results.csv: how small the pulled channels are beside the largest of their group."""
        sizes = self.sizes()
        if not len(sizes):
            return {}
        near = float((sizes < NEAR_ZERO).float().mean())
        return {"channel/near_zero": near, "channel/median": float(sizes.median())}

    def _factors(self, done: float) -> Iterator[tuple[Tensor, Tensor]]:
        """Each tensor that is trained, and s f of its weights, of a shape that broadcasts to it."""
        strength = self.s * self.schedule(done)[0]
        of_channel = strength * self._shares()
        for layer in self._layers:
            outputs = of_channel[layer.outputs]
            for other in layer.others:
                if other.requires_grad:
                    yield other, outputs.clone()
            if layer.kernel.requires_grad:
                pairs = outputs[:, None]
                if layer.inputs is not None:
                    pairs = pairs + _by_output(of_channel[layer.inputs], layer.groups, len(outputs))
                yield layer.kernel, pairs[:, :, None, None].clone()

    def _shares(self) -> Tensor:
        """f of each channel (N,), 0 for those that are not pulled."""
        if self.growing:
            return self._pulled.float()
        squares = self._squares()
        most = self._of_groups(squares, self._pulled, "amax")
        least = self._of_groups(squares, self._pulled, "amin")
        spread = (most - least).clamp_min(1e-30)
        return torch.where(self._pulled, 2.0 ** (ALPHA * (most - squares) / spread), 0.0)

    def _squares(self) -> Tensor:
        """|w_k|^2 of each channel (N,)."""
        found = torch.zeros(len(self._group), device=self._group.device)
        for layer in self._layers:
            pairs = torch.einsum("oihw,oihw->oi", layer.kernel, layer.kernel)
            outputs = pairs.sum(1) + sum(other.square() for other in layer.others)
            found.index_add_(0, layer.outputs, outputs)
            if layer.inputs is not None:
                parts = pairs.view(layer.groups, -1, pairs.shape[1]).sum(1)
                found.index_add_(0, layer.inputs, parts.flatten())
        return found

    def _of_groups(self, values: Tensor, which: Tensor, reduce: str) -> Tensor:
        """The largest ("amax") or smallest of `which` of each channel's group, for all (N,)."""
        start = torch.full_like(values, -torch.inf if reduce == "amax" else torch.inf)
        found = start.scatter_reduce(0, self._group[which], values[which], reduce)
        return found[self._group]


def make_coupled(coupled: Coupled, options: SparsityOptions) -> CoupledPull:
    """The pull that the options ask for, of strength 0."""
    growing = options.penalty == "growing"
    return CoupledPull(coupled, 0.0, options.decay, options.update, growing)


def _by_output(of_input: Tensor, groups: int, outputs: int) -> Tensor:
    """A number of each input (I,), for each pair of a kernel: (1 or O, I / groups)."""
    if groups == 1:
        return of_input[None]
    return of_input.view(groups, -1).repeat_interleave(outputs // groups, 0)


def _placed(layer: CoupledLayer, device: torch.device) -> CoupledLayer:
    inputs = None if layer.inputs is None else layer.inputs.to(device)
    return CoupledLayer(layer.kernel, layer.others, layer.outputs.to(device), inputs, layer.groups)
