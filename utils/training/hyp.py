"""`--hyp FILE`: a YAML file of train.py's flags.

The schema is the parser itself: a key is a flag's name, in either spelling, and its value is read
as that flag's would be.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..command.cli import Parser
from ..command.errors import UserError
from ..command.files import require_file
from ..command.outside.yaml_file import parsed_yaml

# What a run is, rather than how it trains.
_NOT_HERE = {
    "help",
    "hyp",
    "resume",
    "name",
    "project",
    "exist_ok",
    "cfg",
    "data",
    "weights",
    "device",
    "tensor_limit",
}
_LARGEST_BYTES = 1 << 16  # every flag of train.py with a comment takes a tenth of it


def hyp_flags(path: str, parser: Parser) -> list[str]:
    """The words of a command line that say what the file does.

    Raises UserError for a file that is not YAML, a key that is no flag, or a value that does not
    fit its flag.
    """
    actions = {
        option.lstrip("-").replace("-", "_"): (option, action)
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--")
    }
    flags: list[str] = []
    for key, value in _read(Path(path)).items():
        name = str(key).replace("-", "_")
        if name not in actions or name in _NOT_HERE:
            raise UserError(f"{path}: {key}: no such hyper-parameter; see train.py --help")
        flags += _as_flags(f"{path}: {key}", *actions[name], value)
    return flags


def _read(path: Path) -> dict[Any, Any]:
    file = require_file(path, "the hyper-parameters")
    if file.stat().st_size > _LARGEST_BYTES:
        raise UserError(f"{path}: is too large for a file of hyper-parameters")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not YAML (the bytes are not UTF-8 text)") from None
    content = parsed_yaml(text, path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold lines of 'key: value'")
    return content


def _as_flags(where: str, option: str, action: argparse.Action, value: Any) -> list[str]:
    """The words of a command line that say `key: value`."""
    if action.nargs == 0 or (action.nargs == "?" and isinstance(value, bool)):
        if not isinstance(value, bool):
            raise UserError(f"{where}: must be true or false, got {value!r}")
        return [option] if value else []
    if isinstance(value, bool | dict) or value is None:
        raise UserError(f"{where}: must be a value of {option}, got {value!r}")
    words = [str(word) for word in (value if isinstance(value, list) else [value])]
    for word in words:
        _check(where, action, word)
    return [option, *words]


def _check(where: str, action: argparse.Action, word: str) -> None:
    """Raise UserError where argparse would refuse a value, with the place in the file."""
    try:
        found = action.type(word) if callable(action.type) else word
    except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
        raise UserError(f"{where}: {word!r} does not fit: {error}") from None
    if action.choices is not None and found not in action.choices:
        raise UserError(f"{where}: must be one of {', '.join(map(str, action.choices))}")
