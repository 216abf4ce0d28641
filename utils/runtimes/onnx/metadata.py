"""What an exported file says of itself: read as a stranger's words, which may be anything.

None of it is part of what a network computes, so what has the wrong form counts as not said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...command.outside.json_file import parsed_json
from ...network.weights import names_in

_MOST_CHARACTERS = 64 << 20
_MOST_CLASSES = 1 << 20


def stated_names(text: str | None) -> tuple[str, ...] | None:
    """The class names that metadata hold as a JSON list; None for anything else."""
    return names_in({"names": _parsed(text)}) or None


def stated_classes(text: str | None) -> int:
    """The number of classes that metadata hold; 0 for anything else."""
    found = _parsed(text)
    return found if type(found) is int and 0 < found < _MOST_CLASSES else 0


def stated_entries(text: str | bytes | None) -> Mapping[str, str]:
    """The entries of a JSON object that are text, of formats whose metadata are one such text."""
    found = _parsed(text)
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _parsed(text: str | bytes | None) -> Any:
    try:
        return parsed_json(text) if text and len(text) < _MOST_CHARACTERS else None
    except (ValueError, RecursionError):
        return None
