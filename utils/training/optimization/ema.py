"""The exponential moving average of the weights, which is what gets evaluated and saved."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

DECAY = 0.9998


def decay_at(updates: int, decay: float = DECAY) -> float:
    """Decay of the next update after `updates` of them: (1 + n) / (10 + n) until `decay`.

    The average thus spans about the last tenth of a short training, and forgets its random start.
    """
    return min(decay, (1 + updates) / (10 + updates))


def make_ema(model: nn.Module, decay: float = DECAY) -> AveragedModel:
    """Average of parameters and BN statistics, in the model's own float32.

    Call `.update_parameters(model)` once per optimizer step; `.module` is the averaged model.
    """

    @torch.no_grad()
    def lerp(averages: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        if averages[0].is_floating_point():
            weight = 1 - decay_at(int(updates), decay)
            torch._foreach_lerp_(list(averages), list(current), weight)
        else:  # a counter has no average
            torch._foreach_copy_(list(averages), list(current))

    # The annotation of torch's argument is narrower than what it calls.
    return AveragedModel(model, multi_avg_fn=lerp, use_buffers=True)
