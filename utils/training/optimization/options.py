"""How the weights are updated, as plain values: the optimizer, its rates, and their schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ...command.flag_fields import flag

OptimizerKind = Literal["sgd", "adamw"]
ScheduleKind = Literal["cosine", "step"]
Amp = Literal["auto", "bf16", "fp16", "off"]

# Where each trains well from random weights on a small data set.
LR0: dict[OptimizerKind, float] = {"adamw": 0.0015, "sgd": 0.02}
MOMENTUM: dict[OptimizerKind, float] = {"adamw": 0.9, "sgd": 0.937}


@dataclass(frozen=True)
class OptimizerOptions:
    """What a step does with the gradients.

    kind: None takes adamw, but sgd for sparsity by subgradients, since AdamW would divide the pull
    on a gamma by the size of its gradients. lr0: the learning rate, None takes LR0; momentum: or
    AdamW's beta1, None takes MOMENTUM. weight_decay: of the convolution kernels. clip_norm: the
    longest gradient, 0 leaves it alone. accumulate: batches per step. ema: whether the moving
    average of the weights is what is scored and saved.
    """

    kind: OptimizerKind | None = field(default=None, metadata=flag("optimizer"))
    lr0: float | None = None
    momentum: float | None = None
    weight_decay: float = 5e-4
    clip_norm: float = 10.0
    accumulate: int = 1
    ema: bool = True


@dataclass(frozen=True)
class Rates:
    """What the optimizer starts with: its kind, learning rate, and momentum (AdamW's beta1)."""

    kind: OptimizerKind
    lr0: float
    momentum: float


def rates_of(options: OptimizerOptions, pulled_by_gradient: bool) -> Rates:
    """The rates as given or by default; `pulled_by_gradient`: sparsity joins the gradients."""
    kind: OptimizerKind = options.kind or ("sgd" if pulled_by_gradient else "adamw")
    return Rates(
        kind,
        LR0[kind] if options.lr0 is None else options.lr0,
        MOMENTUM[kind] if options.momentum is None else options.momentum,
    )


@dataclass(frozen=True)
class ScheduleOptions:
    """How the learning rate changes in the course of a training.

    final_factor: share of it at the end of the cosine. warmup_epochs: over which it rises. The
    rest is what a cfg can say beyond the flags. marks: (share of training, factor from there on)
    for the kind "step", () takes the usual ones. burn_in: optimizer steps of warm-up as Darknet
    warms up, in place of warmup_epochs. max_batches: optimizer steps that a new run rounds up to
    whole epochs, in place of its number of epochs.
    """

    kind: ScheduleKind = field(default="cosine", metadata=flag("schedule"))
    final_factor: float = field(default=0.01, metadata=flag("lrf"))
    warmup_epochs: float = 2.0
    marks: tuple[tuple[float, float], ...] = field(default=(), metadata=flag("lr_marks"))
    burn_in: int | None = None
    max_batches: int | None = None
