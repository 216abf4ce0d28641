"""Batch normalisation's means and variances, measured anew on images."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Any

import torch
from torch import Tensor, nn

# SyncBatchNorm is one as well, and no BatchNorm2d.
BatchNorm = nn.modules.batchnorm._BatchNorm


@torch.no_grad()
def recalibrate_(network: nn.Module, batches: Iterable[Sized]) -> int:
    """Replace every BN layer's mean and variance by those over `batches`; returns the images seen.

    Each is the average over the batches, weighted by their images, of the batch's own mean and
    unbiased variance: torch's cumulative average (momentum=None) where all batches are of one
    size. Layers see inputs normalised by the batch, as in training. batches: (B, C, H, W) in 0..1,
    on the network's device, or whatever else the network takes that has as many items as images.
    Without a batch nothing changes.
    """
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    was_training = network.training
    seen = dict.fromkeys(norms, 0)
    hooks = [norm.register_forward_pre_hook(_weigh_by_images(seen)) for norm in norms]
    network.eval()
    for norm in norms:
        norm.train()
    images = 0
    try:
        for batch in batches:
            network(batch)
            images += len(batch)
    finally:
        for hook in hooks:
            hook.remove()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.train(was_training)
    return images


def _weigh_by_images(seen: dict[BatchNorm, int]) -> Any:
    """A hook that gives a batch the weight of its images among all that the layer has seen."""

    def hook(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, BatchNorm)
        count = len(inputs[0])
        seen[norm] += count
        norm.momentum = count / seen[norm]

    return hook
