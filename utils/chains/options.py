"""What the chains of commands are asked for, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from ..masks.options import MaskOptions
from ..pruning.options import Measure, PruneOptions
from ..pruning.strategy import Strategy

RANDOM = "random"


@dataclass(frozen=True)
class Pace:
    """How an iterative prune goes: so many steps to a target, each finetuned for some epochs.

    target: share of the original that is gone after the last step. last_*: the last step's own, or
    None. one_shot: a single step with the epochs of all.
    """

    steps: int = 16
    target: float = 0.5
    epochs_per_step: int = 30
    last_epochs: int | None = None
    last_batch_size: int | None = None
    last_schedule: str | None = None
    one_shot: bool = False


@dataclass(frozen=True)
class IterativeOptions:
    """An iterative prune: a network pruned and finetuned by turns.

    prune: what every prune is asked for, but for its model and its budget; the first one's model.
    measure: what the target is a share of. max_map_drop: of mAP@.5, from which on to stop.
    train_flags: what every training is given on its command line, but for model and epochs: a
    training may be killed, and goes on by itself. teacher: its cfg and weights, or two "".
    """

    prune: PruneOptions
    pace: Pace
    measure: Measure
    max_map_drop: float | None
    train_flags: tuple[str, ...]
    teacher: tuple[str, str] = ("", "")

    @property
    def strategy(self) -> Strategy:
        """Of every prune."""
        return self.prune.strategy


@dataclass(frozen=True)
class LotteryOptions:
    """A lottery ticket: how to mask, and where to rewind to, a file or RANDOM.

    train_flags: what every training is given, but for weights and masks.
    """

    mask: MaskOptions
    rewind: str
    train_flags: tuple[str, ...]
