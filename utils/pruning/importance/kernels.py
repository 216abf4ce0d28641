"""Importance that reads the kernels: norms of each output channel's kernel, and distances.

Everywhere the kernel is the one that runs: weight * gamma / sqrt(variance + eps), as folding the
batch normalisation into the convolution makes it. Batch normalisation undoes any scale of the raw
kernel, so its size alone says nothing; and a channel whose gamma sparse training has brought to 0
gets the score 0. Layers without batch normalisation have scores, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from ...network.graph import ChannelGraph
from ...network.layers import Layer
from ...network.layers.normalization import BN_EPS
from ...network.weights import key_of
from .scores import Scores, Values

_FPGM_FLOAT64_MACS = 1 << 26

KernelScore = Callable[[Tensor], Tensor]  # float64 kernels (C, weights) -> scores (C,)


def kernel_scores(graph: ChannelGraph, state: Mapping[str, Tensor], score: KernelScore) -> Scores:
    """`score` of the kernels of every layer that has one."""
    return {
        index: score(fused_kernels(graph.layers[index], state)).numpy() for index in graph.issued
    }


def fused_kernels(layer: Layer, state: Mapping[str, Tensor]) -> Tensor:
    """Kernel of each output channel, one per row (C, weights), float64, on the CPU."""
    (name,) = (field.name for field in layer.fields() if len(field.shape) > 1)
    kernels = state[key_of(layer.index, name)].detach().cpu().double().flatten(1)
    gamma = state.get(key_of(layer.index, "bn.weight"))
    if gamma is None:
        return kernels
    variance = state[key_of(layer.index, "bn.running_var")].detach().cpu().double()
    scale = gamma.detach().cpu().double() / (variance + BN_EPS).sqrt()
    return kernels * scale[:, None]


def l1(kernels: Tensor) -> Tensor:
    """Sum of |w| over a channel's kernel.

    Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017.
    """
    return kernels.abs().sum(1)


def l2(kernels: Tensor) -> Tensor:
    """Euclidean norm of a channel's kernel.

    He et al., "Soft Filter Pruning for Accelerating Deep Convolutional Neural Networks", IJCAI
    2018 (p = 2).
    """
    return kernels.square().sum(1).sqrt()


def fpgm(kernels: Tensor) -> Tensor:
    """Sum of the Euclidean distances to the layer's other kernels: the most replaceable go first.

    He et al., "Filter Pruning via Geometric Median for Deep Neural Networks Acceleration", CVPR
    2019.
    """
    # |a - b|^2 = |a|^2 + |b|^2 - 2 ab: one matrix product. Distances do not change when the mean
    # is taken off, but the cancellation does; wide layers then bear float32, which is fast.
    wide = kernels.numel() * len(kernels) > _FPGM_FLOAT64_MACS
    centred = (kernels - kernels.mean(0)).to(torch.float32 if wide else torch.float64)
    squares = centred.square().sum(1)
    distances = torch.addmm(squares[:, None] + squares, centred, centred.T, alpha=-2)
    distances.clamp_(min=0).sqrt_().fill_diagonal_(0)
    return distances.sum(1, dtype=torch.float64)


def lamp(kernels: Tensor) -> Tensor:
    """|k|^2 over the sum of |k'|^2 of all kernels k' of the layer that are no smaller.

    The layer's largest kernel scores 1, so no layer is emptied, and scores compare between layers.
    Lee et al., "Layer-Adaptive Sparsity for the Magnitude-Based Pruning", ICLR 2021, for
    whole kernels in place of single weights; equal kernels get equal scores.
    """
    squares = kernels.square().sum(1)
    ordered, _ = squares.sort()
    # Sums from each place to the end; a kernel's own starts at the first of those equal to it.
    sums = ordered.flip(0).cumsum(0).flip(0)
    remaining = sums[torch.searchsorted(ordered, squares)]
    return torch.where(squares > 0, squares / remaining, torch.zeros_like(squares))


def random_scores(graph: ChannelGraph, seed: int) -> Scores:
    """Uniform numbers in 0..1 that depend on (seed, layer) alone: the floor to compare with."""
    scores: Scores = {}
    for index, classes in graph.issued.items():
        values: Values = np.random.default_rng((seed, index)).random(len(classes))
        scores[index] = values
    return scores
