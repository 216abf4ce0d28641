"""What mask_prune.py is asked for beyond one masking, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from ...command.errors import UserError
from ...masks.options import MaskOptions

RANDOM = "random"


@dataclass(frozen=True)
class LotteryOptions:
    """A lottery ticket: how to mask, and where to rewind to, a file or RANDOM.

    train_flags: what every training is given on its command line, but for weights and masks.
    """

    mask: MaskOptions
    rewind: str
    train_flags: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.mask.scoring.data:
            raise UserError("--rewind: trains, and needs --data")
        if self.mask.earlier or self.mask.dry_run:
            raise UserError(
                "--rewind: makes its own masks by training; leave out --masks, --dry-run"
            )


@dataclass(frozen=True)
class MaskRun:
    """A run of mask_prune.py: one masking, or a `lottery` in its place.

    output: the lottery's folder; "": a free one below runs/lottery. resume: the folder of a lottery
    to go on with; "": a new one. words: the command's own, for the journal.
    """

    mask: MaskOptions
    lottery: LotteryOptions | None
    output: str
    resume: str
    words: tuple[str, ...]
