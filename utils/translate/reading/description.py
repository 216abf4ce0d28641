"""A checkpoint's own description of its network, `yaml`, as far as it is plain data."""

from __future__ import annotations

from typing import Any

_LEFT_OUT = ("yaml_file",)  # a path on the machine that it was made on
_DEEPEST, _MOST_VALUES = 8, 5_000


def model_description(found: Any) -> dict[str, Any]:
    """The dict without paths; empty where the checkpoint has none, or one that is not plain."""
    if not isinstance(found, dict) or not all(key in found for key in ("backbone", "head")):
        return {}
    kept = {key: value for key, value in found.items() if key not in _LEFT_OUT}
    return kept if _count(kept, 0) <= _MOST_VALUES else {}


def _count(value: Any, depth: int) -> int:
    """How many values there are; too many for what JSON does not hold, or what is too deep."""
    if value is None or type(value) in (bool, int, float, str):
        return 1
    if depth > _DEEPEST:
        return _MOST_VALUES + 1
    if type(value) in (list, tuple):
        return sum(_count(each, depth + 1) for each in value[: _MOST_VALUES + 1])
    if type(value) is dict and all(type(key) is str for key in value):
        return sum(_count(each, depth + 1) for each in value.values())
    return _MOST_VALUES + 1
