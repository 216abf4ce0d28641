"""The ranges that a checkpoint holds beside its weights: of each grid the least and the largest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...command.errors import UserError

KEY = "int8"  # of a checkpoint: ranges of the weights to use
RAW_KEY = "int8_raw"  # of the weights that go on training
Ranges = dict[str, tuple[float, float]]


def ranges_in(checkpoint: Mapping[str, Any], source: str | Path, key: str = KEY) -> Ranges:
    """By the names of grids; {} for a network in float. Raises UserError for what are no ranges."""
    found = checkpoint.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and _is_range(pair) for name, pair in found.items()
    ):
        raise UserError(f"{source}: its '{key}' are no ranges: two numbers by name are wanted")
    return {name: (float(low), float(high)) for name, (low, high) in found.items()}


def _is_range(pair: object) -> bool:
    return (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(type(end) in (int, float) and math.isfinite(end) for end in pair)
        and pair[0] <= pair[1]
    )
