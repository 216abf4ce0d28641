"""`--data` as people give it, for commands that want a .data file. Light for those who give one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ..command.errors import UserError

OTHER_FORMS = frozenset((".yaml", ".yml", ".json", ".zip"))

Options = TypeVar("Options")


def ready_data(data: str) -> str:
    """The .data file of a data set in any form (see `forms`); "" stays "".

    A .data file is taken as it is, and nothing heavy loads for it. Raises UserError.
    """
    path = Path(data)
    if data and not path.exists():
        raise UserError(f"{path}: no such file or folder (a data set)")
    if not data or (path.is_file() and path.suffix.lower() not in OTHER_FORMS):
        return data
    from .forms import data_file

    return str(data_file(data))


def with_ready_data(options: Options) -> Options:
    """Options with a `data` or a `scoring` that has one: the same with the .data file there."""
    given: Any = options
    if hasattr(given, "scoring"):
        scoring = with_ready_data(given.scoring)
        return options if scoring is given.scoring else replace(given, scoring=scoring)
    ready = ready_data(given.data)
    return options if ready == given.data else replace(given, data=ready)
