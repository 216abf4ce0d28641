"""The optimizer: AdamW, or SGD with Nesterov momentum; weight decay on convolution kernels only."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from .options import OptimizerKind
from .schedule import Schedule

_ADAM_BETA2 = 0.999


def make_optimizer(
    model: nn.Module,
    kind: OptimizerKind,
    lr: float,
    momentum: float,
    weight_decay: float,
    some_learn_later: bool = False,
) -> Optimizer:
    """Groups: kernels, with decay; BN and biases, without (decay would blur what gammas mean).

    The update of all tensors is one fused kernel; that of SGD cannot have `some_learn_later`.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if kind == "adamw":
        return AdamW(groups, lr=lr, betas=(momentum, _ADAM_BETA2), fused=True)
    nesterov, fused = momentum > 0, not some_learn_later
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=fused)


def set_rates(optimizer: Optimizer, schedule: Schedule, lr0: float, step: int) -> float:
    """Learning rate and momentum of optimizer step `step`; returns the learning rate."""
    lr, momentum = lr0 * schedule.lr_factor(step), schedule.momentum_at(step)
    for group in optimizer.param_groups:
        group["lr"] = lr
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum
    return lr
