"""How far the features of linked channels are from the teacher's: `--distill feature`.

The student is the teacher minus channels, and its plan says which. So maps (B, C, H, W) are
compared channel by channel, without adapters:

    cwd: T^2 / (B C) * sum over channels of KL of the softmax over positions (Shu et al.,
         "Channel-wise Knowledge Distillation for Dense Prediction", ICCV 2021)
    mse: mean of the squared difference, in units of the teacher's variance in that channel
    pkd: half the mean squared difference of the maps, each channel of each side standardised over
         images and positions to mean 0 and deviation 1 (Cao et al., "PKD: General Distillation
         Framework for Object Detectors via Pearson Correlation Coefficient", NeurIPS 2022,
         arXiv:2207.02039). That is 1 - r with Pearson's correlation r of a channel.

pkd asks for the pattern alone: a pruned student may keep its features at another scale and offset,
as its own batch normalisations and the constants folded into them want it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...network.channel_links import Link
from .options import DistillOptions, FeatureLoss

_VARIANCE_FLOOR = 1e-6  # a dead channel has no scale


def feature_loss(
    links: Sequence[Link],
    mine: Mapping[int, Tensor],
    taught: Mapping[int, Tensor],
    options: DistillOptions,
) -> Tensor:
    """Mean over the linked layers; values (B, C, H, W) by the layers of either side."""
    distance, parts = DISTANCES[options.feature_loss], []
    for link in links:
        wanted = taught[link.teacher_layer][:, list(link.channels)].float()
        parts.append(distance(mine[link.layer].float(), wanted, options.temperature))
    return torch.stack(parts).mean()


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher, student) (...,) of the softmaxes of logits (..., n) at a temperature."""
    mine = F.log_softmax(student / temperature, -1)
    taught = F.log_softmax(teacher / temperature, -1)
    return (taught.exp() * (taught - mine)).sum(-1)


def channel_wise(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean over images and channels of T^2 KL over the positions of maps (B, C, H, W)."""
    return temperature**2 * divergence(student.flatten(2), teacher.flatten(2), temperature).mean()


def relative_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of maps (B, C, H, W), in units of the teacher's variance."""
    scale = teacher.var((0, 2, 3), correction=0, keepdim=True).clamp_min(_VARIANCE_FLOOR)
    return ((student - teacher).square() / scale).mean()


def uncorrelated(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over the channels of maps (B, C, H, W) of 1 - Pearson's correlation.

    A channel that is constant on one side alone counts 1/2, whatever the other's pattern is: a dead
    channel of the teacher pulls at nothing.
    """
    return (_standardised(student) - _standardised(teacher)).square().mean() / 2


def _standardised(x: Tensor) -> Tensor:
    """Mean 0 and deviation 1 in each channel, 0 in a constant one.

    The floor goes under the root, whose slope at 0 would make the gradient of a dead channel NaN.
    """
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
    return (x - mean) * (variance + _VARIANCE_FLOOR).rsqrt()


# Value of --feature-loss -> distance of the student's maps from the teacher's, at a temperature.
DISTANCES: dict[FeatureLoss, Callable[[Tensor, Tensor, float], Tensor]] = {
    "cwd": channel_wise,
    "mse": lambda student, teacher, _: relative_error(student, teacher),
    "pkd": lambda student, teacher, _: uncorrelated(student, teacher),
}
