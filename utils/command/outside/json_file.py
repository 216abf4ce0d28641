"""JSON from a file: numbers are finite, and whatever is wrong with it is one kind of error."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from ..errors import UserError
from ..files import require_file


def read_json(path: str | Path, what: str, max_bytes: int) -> Any:
    """The content of a file. Raises UserError where it is no JSON, or larger than `what` can be."""
    source = require_file(path, what)
    try:
        if source.stat().st_size > max_bytes:
            raise UserError(f"{source}: larger than {max_bytes >> 20} MiB, so it is not {what}")
        return parsed_json(source.read_bytes())
    except OSError as error:
        raise UserError(f"{source}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise UserError(f"{source}: not JSON, so it is not {what}") from None


def parsed_json(text: str | bytes) -> Any:
    """As json.loads, without NaN and infinity. Raises ValueError or RecursionError."""
    return json.loads(text, parse_constant=_refused, parse_float=_finite)


def _refused(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _finite(text: str) -> float:
    """`1e999` is written as a number and read as infinity, which no whole number can hold."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value
