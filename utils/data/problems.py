"""What is wrong with a data set, as file:line and a reason, and how it is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..command.errors import UserError

logger = logging.getLogger(__name__)

SHOWN = 5


@dataclass(frozen=True)
class Problem:
    """One skipped image or label row; `where` is "file:line"."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def report_problems(source: str | Path, problems: Sequence[Problem], strict: bool) -> None:
    """One warning that counts the problems and lists the first few; UserError when `strict`.

    The full list goes to the debug log.
    """
    if not problems:
        return
    shown = "; ".join(str(problem) for problem in problems[:SHOWN])
    rest = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''} in the data"
    if strict:
        raise UserError(f"{source}: {count}: {shown}{rest}")
    logger.warning("%s: %s, skipped: %s%s", source, count, shown, rest)
    for problem in problems:
        logger.debug("skipped %s", problem)
