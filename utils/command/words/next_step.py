"""What to type next: commands to copy, at the end of each command's output."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

Words = list[str | Path | int | float]  # of a command line


def next_steps(steps: Mapping[str, Sequence[str | Path | int | float]]) -> str:
    """Lines to print: what a step is for, and its command's words, quoted for a shell.

    ``next_steps({"finetune": ["python", "train.py", "--cfg", "my.cfg"]})`` gives ``Next, to
    finetune:`` and below it ``  python train.py --cfg my.cfg``.
    """
    return "\n".join(
        f"Next, to {purpose}:\n  {shlex.join(map(str, words))}" for purpose, words in steps.items()
    )
