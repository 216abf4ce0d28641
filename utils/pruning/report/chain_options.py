"""What a page about a line of models is made of, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...command.errors import UserError
from ...detection.options import Inputs, Scoring


@dataclass(frozen=True)
class ChainOptions:
    """The models of a line, in their order; how they are scored; the folder to write.

    force: over an earlier page. decided: why they became so, a line a decision. Raises UserError
    for fewer than two models.
    """

    models: tuple[Inputs, ...]
    scoring: Scoring = field(default_factory=Scoring)
    output: str = "runs/report"
    force: bool = False
    decided: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.models) < 2:
            raise UserError("--models: name two at least, from the first network to the last")
