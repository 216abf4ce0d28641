"""Libraries that cannot lie beside this program (their licence or their pins say so).

The user has each in an environment, maybe another one, where a script of ours works in a process
of its own. Nothing is loaded here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..command.errors import UserError
from .options import Theirs


@dataclass(frozen=True)
class Library:
    """The module's name, and the line that installs it."""

    module: str
    install: str


LIBRARIES: dict[Theirs, Library] = {
    "ultralytics": Library("ultralytics", "pip install ultralytics"),
    "espdl": Library("esp_ppq", "pip install torch esp-ppq"),
}


def flag_of(kind: Theirs) -> str:
    """The flag that names the interpreter."""
    return f"--{kind}-python"


def interpreter(kind: Theirs, python: str) -> str:
    """The Python that has the library. Raises UserError with the line that installs it."""
    library = LIBRARIES[kind]
    if python:
        if not Path(python).is_file():
            raise UserError(f"{flag_of(kind)} {python}: no such file")
        # Its process starts in another folder. (A link stays: it is what makes an environment.)
        return str(Path(python).absolute())
    if find_spec(library.module) is None:
        raise UserError(
            f"--format {kind} needs {library.module}, not installed here: {library.install} (or "
            f"name the interpreter of an environment that has it with {flag_of(kind)})"
        )
    return sys.executable


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """The variables of its process: this one's, without what would lead to our own modules."""
    return {**{key: value for key, value in os.environ.items() if key != "PYTHONPATH"}, **more}


def failed(kind: Theirs, python: str, said: str, code: int | None) -> UserError:
    """What its process said last, as an error of the user's."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit code {code}"
    hint = f" ({LIBRARIES[kind].install})" if "No module named" in last else ""
    library = LIBRARIES[kind].module
    return UserError(f"{python}: {library} cannot hold or run it: {last[:300]}{hint}")
