"""Flags that take one value or several: `0.8`, `0.3:0.9:0.1` or `0.5,0.7,0.8`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from .cli import number_of

_MOST_VALUES = 1000


def several(
    one: Callable[[str], float],
) -> Callable[[str], float | tuple[float, ...]]:
    """Type of a flag whose single value has the type `one`; several become an ascending tuple.

    A range is START:STOP:STEP with both ends, counted in decimals, so that 0.3:0.9:0.1 ends at 0.9;
    lists are separated by commas and may hold ranges.
    """

    def values(text: str) -> float | tuple[float, ...]:
        if "," not in text and ":" not in text:
            return one(text)
        found = {_checked(one, word) for part in text.split(",") for word in _words(part)}
        return tuple(sorted(found))

    values.__name__ = getattr(one, "__name__", "value")  # argparse's messages name the type
    return values


def _words(part: str) -> list[str]:
    """The values of `0.5` or of `START:STOP:STEP`, as text."""
    if ":" not in part:
        return [part.strip()]
    try:
        start, stop, step = (number_of(number) for number in part.split(":"))
        countable = all(number.is_finite() for number in (start, stop, step))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{part}' is not START:STOP:STEP, as 0.3:0.9:0.1"
        ) from None
    if not countable or step <= 0 or stop < start:
        raise argparse.ArgumentTypeError(f"'{part}' does not go up from START to STOP by STEP")
    if (stop - start) / step >= _MOST_VALUES:
        raise argparse.ArgumentTypeError(f"'{part}' holds more than {_MOST_VALUES} values")
    count = int((stop - start) / step) + 1
    return [format((start + k * step).normalize(), "f") for k in range(count)]


def _checked(one: Callable[[str], float], word: str) -> float:
    try:
        return one(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{word}' is not a value of this flag") from None
