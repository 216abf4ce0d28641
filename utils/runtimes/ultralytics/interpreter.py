"""Which Python has ultralytics: the user's own installation, which may be another environment."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from ...command.errors import UserError

PIP_LINE = "pip install ultralytics"


def interpreter(python: str) -> str:
    """The Python that has ultralytics. Raises UserError with the line that installs it."""
    if python:
        if not Path(python).is_file():
            raise UserError(f"--ultralytics-python {python}: no such file")
        return python
    if find_spec("ultralytics") is None:
        raise UserError(
            f"--format ultralytics needs ultralytics, not installed here: {PIP_LINE} (or name the "
            "interpreter of an environment that has it with --ultralytics-python)"
        )
    return sys.executable
