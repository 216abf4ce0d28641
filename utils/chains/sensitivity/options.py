"""What sensitivity.py is asked for, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from ...command.errors import UserError
from ...command.option_values import require_choice, require_count
from ...detection.options import Development, Inputs, Scoring
from ...pruning.importance.options import Ranking
from ...pruning.options import LEAST_IMAGES
from ...pruning.sensitivity.record import Measure
from ...pruning.strategy import Strategy

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
IMAGES = 64  # of the development share: with more, a point takes longer and says little more


@dataclass(frozen=True)
class SensitivityOptions:
    """Which network, cut how, scored on what.

    strategy, called `script`: whose candidates; ranking: which channels of a group go first.
    shares: of a group's channels, ascending. measure: what a drop is counted in; "fast" predicts it
    from gradients and cuts nothing. recalibrate: images of the rest of the training list to measure
    the BN statistics behind each cut on; None: not.
    """

    script: str
    strategy: Strategy
    inputs: Inputs
    scoring: Scoring
    shares: tuple[float, ...] = SHARES
    measure: Measure = "map"
    development: Development = field(default_factory=lambda: Development(most=IMAGES))
    ranking: Ranking = field(default_factory=Ranking)
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    recalibrate: int | None = None

    def __post_init__(self) -> None:
        if not self.scoring.data:
            raise UserError("--data: is needed; a share of its training list is scored on")
        if self.strategy.channels is None:
            raise UserError(f"--strategy {self.script}: removes no channels of its own")
        require_choice("--measure", self.measure, get_args(Measure))
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            raise UserError("--shares: must lie between 0 and 1, without these")
        if list(self.shares) != sorted(set(self.shares)):
            raise UserError("--shares: must ascend")
        if self.recalibrate is not None:
            require_count("--recalibrate", self.recalibrate, LEAST_IMAGES)
            if self.measure == "fast":
                raise UserError("--recalibrate: comes after a cut, and --fast cuts nothing")
