"""What search.py is asked for, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...command.errors import UserError
from ...command.option_values import require_count
from ...detection.options import Development, Inputs, Scoring
from ...pruning.importance.options import Ranking
from ...pruning.options import LEAST_IMAGES, Budget
from ...pruning.strategy import Strategy

TRIALS = 200
IMAGES = 5  # of the development share: as many tell good widths from bad ones (docs/search.md)
RECALIBRATE = 2


@dataclass(frozen=True)
class SearchOptions:
    """Which network, cut to which budgets, scored on what; and the study that remembers it.

    strategy, called `script`: whose candidates; ranking: which channels of a group go first.
    trials: how many networks the whole study scores. recalibrate: images of the rest of the
    training list to measure BN statistics on after each cut. sensitivity: the file whose allotment
    is tried; "": one from gradients. storage: where Optuna keeps the study; "": a file in the run's
    folder. study: its name there.
    """

    script: str
    strategy: Strategy
    inputs: Inputs
    scoring: Scoring
    budgets: tuple[Budget, ...]
    trials: int = TRIALS
    development: Development = field(default_factory=lambda: Development(most=IMAGES))
    ranking: Ranking = field(default_factory=Ranking)
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    round_to: int = 1
    recalibrate: int = RECALIBRATE
    sensitivity: str = ""
    storage: str = ""
    study: str = ""

    def __post_init__(self) -> None:
        if not self.scoring.data:
            raise UserError("--data: is needed; a share of its training list is scored on")
        if self.strategy.channels is None:
            raise UserError(f"--strategy {self.script}: removes no channels of its own")
        if not self.budgets:
            raise UserError(
                "how small? give --target-params, --target-macs or --target-file, say 0.25; "
                "several must all hold"
            )
        require_count("--trials", self.trials)
        require_count("--round-to", self.round_to)
        require_count("--recalibrate", self.recalibrate, LEAST_IMAGES)
        if self.storage and not self.study:
            raise UserError("--storage: needs --study, the study's name there")
        if self.study and not self.storage:
            raise UserError("--study: is the name in --storage; a study of the run's own has none")
