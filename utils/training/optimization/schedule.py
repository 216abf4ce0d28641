"""Learning rate and momentum as pure functions of the optimizer step.

A resumed run therefore needs nothing but the step's number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .options import ScheduleKind, ScheduleOptions

WARMUP_POWER = 4.0  # Darknet's `power`
# Step schedule: (share of training, factor from there on), as Darknet's and the YOLO tools' cfgs.
_STEPS = ((0.7, 0.1), (0.9, 0.01))


@dataclass(frozen=True)
class Schedule:
    """`steps` optimizer steps; the first `warmup_steps` rise to the schedule's own value.

    marks: of the step schedule, (share of training, factor from there on), in order.
    warmup_power: the rise is progress to this power, 4 in Darknet's burn_in.
    """

    steps: int
    warmup_steps: int = 0
    kind: ScheduleKind = "cosine"
    final_factor: float = 0.01  # where the cosine ends
    momentum: float = 0.937
    warmup_momentum: float = 0.8
    warmup_power: float = 1.0
    marks: tuple[tuple[float, float], ...] = _STEPS

    def lr_factor(self, step: int) -> float:
        """What to multiply the base learning rate by; never above 1."""
        return math.pow(self._warmth(step), self.warmup_power) * self._planned(step)

    def momentum_at(self, step: int) -> float:
        """Momentum (or Adam's beta1), rising linearly during the warm-up."""
        low = min(self.warmup_momentum, self.momentum)
        return low + (self.momentum - low) * self._warmth(step)

    def _warmth(self, step: int) -> float:
        """Above 0 from the first step on, 1 from the last step of the warm-up on."""
        return min(1.0, (step + 1) / max(1, self.warmup_steps))

    def _planned(self, step: int) -> float:
        progress = min(1.0, step / max(1, self.steps))
        if self.kind == "step":
            return next((f for start, f in reversed(self.marks) if progress >= start), 1.0)
        swing = (1 + math.cos(math.pi * progress)) / 2
        return self.final_factor + (1 - self.final_factor) * swing


def make_schedule(
    options: ScheduleOptions, epochs: int, per_epoch: int, momentum: float
) -> Schedule:
    """The schedule of a run with `per_epoch` optimizer steps in each of its epochs."""
    steps = epochs * per_epoch
    rest: dict[str, Any] = {"marks": options.marks} if options.marks else {}
    if options.burn_in is None:
        warmup_steps = round(options.warmup_epochs * per_epoch)
    else:
        # Darknet's: the momentum is the same from the start. A short run is not all warm-up.
        warmup_steps = min(options.burn_in, steps // 10)
        rest |= {"warmup_power": WARMUP_POWER, "warmup_momentum": momentum}
    return Schedule(
        steps, warmup_steps, options.kind, options.final_factor, momentum=momentum, **rest
    )


def epochs_for(max_batches: int, per_epoch: int) -> int:
    """Whole epochs that hold so many optimizer steps."""
    return max(1, math.ceil(max_batches / max(1, per_epoch)))
