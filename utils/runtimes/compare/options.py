"""A comparison, as plain values: what `compare_models` takes, what compare.py's flags become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...command.errors import UserError
from ...command.optional import missing
from ...detection.options import Inputs
from ..needs import needs_of
from ..options import BACKENDS, RUNTIMES

Clock = Literal["wall", "cpu"]


@dataclass(frozen=True)
class CompareOptions:
    """Models as files, the runtimes to run them in, and how long.

    The weights' names, or those of their runs, tell the models apart. data: a .data file to score
    on; without one nothing is scored, nor int8 calibrated. threads: of each pass, None as many as
    PyTorch takes. runs: passes that are timed. output: a new folder for the table and the picture,
    whose times `clock` chooses.

    Raises UserError for a runtime that is not known, or none.
    """

    models: tuple[Inputs, ...]
    data: str = ""
    runtimes: tuple[str, ...] = BACKENDS
    threads: int | None = None
    runs: int = 50
    calibration_images: int = 100
    output: str | None = None
    clock: Clock = "cpu"

    def __post_init__(self) -> None:
        unknown = [name for name in self.runtimes if name not in RUNTIMES]
        if unknown or not self.runtimes:
            asked = ",".join(self.runtimes)
            raise UserError(f"--runtimes {asked}: choose of {', '.join(RUNTIMES)}")


def installed(runtimes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those that can run here, and a line for each that cannot."""
    usable, lines = [], []
    for runtime in runtimes:
        absent = missing(needs_of(runtime))
        if absent:
            lines.append(f"{runtime}: left out; pip install {' '.join(absent)}")
        else:
            usable.append(runtime)
    return usable, lines
