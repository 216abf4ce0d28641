"""What is looked at, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from ...command.errors import UserError
from ..strategy import Strategy


@dataclass(frozen=True)
class GammaOptions:
    """Files of weights of one cfg, in the order of training, and the script that is to prune them.

    `picture` is where the PNG goes; "": FIRST_gammas.png beside the first file of weights.
    """

    cfg: str
    weights: tuple[str, ...]
    script: str  # the name of the script whose strategy this is
    strategy: Strategy
    picture: str = ""

    def __post_init__(self) -> None:
        if not self.weights:
            raise UserError("--weights: names no file; one at least is needed")
