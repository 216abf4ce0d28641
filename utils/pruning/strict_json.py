"""JSON that a stranger may have written, read into values that are what they should be.

Each function takes one value of the content and returns it with its type, or raises `WrongError`,
which says in a few words what is wrong; `read_content` makes that one line with the file's name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from ..command.errors import UserError
from ..command.files import atomic_write, require_file

T = TypeVar("T")
Fields = Mapping[str, Any]

_MOST_BYTES = 32 << 20
_HASH_LENGTH = 64


class WrongError(Exception):
    """What is wrong with the content."""


def read_content(
    path: str | Path, flag: str, what: str, writer: str, build: Callable[[object], T]
) -> T:
    """`build` of the JSON in a file: the one of `flag`, a `what` that `writer` writes.

    Raises UserError, in one line, for whatever else the file may be.
    """
    source = require_file(path, f"the file of {flag}")
    try:
        if source.stat().st_size > _MOST_BYTES:
            fail(f"larger than {_MOST_BYTES >> 20} MiB")
        return build(json.loads(source.read_text(encoding="utf-8"), parse_constant=_no_number))
    except WrongError as error:
        raise UserError(f"{source}: {error}; {writer} writes such files") from None
    except OSError as error:
        raise UserError(f"{source}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError, OverflowError):  # no JSON, no text, a number too long
        raise UserError(
            f"{source}: is no JSON file of {what}; {writer} writes such files"
        ) from None


def write_content(content: Mapping[str, object], path: Path) -> None:
    """Write it, whole; the same content gives the same bytes."""
    text = json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def fail(what: str) -> NoReturn:
    """Raise WrongError."""
    raise WrongError(what)


def _no_number(text: str) -> NoReturn:
    fail(f"holds {text}, which is no number")


def of_format(content: object, what: str, name: str, version: int) -> Fields:
    """The fields of a file, a `what`, of this format and version."""
    fields = an_object(content, "the file")
    if fields.get("format") != name:
        fail(f"is no {what}")
    if fields.get("version") != version:
        fail(f"is of version {str(fields.get('version'))[:20]}, this program reads {version}")
    return fields


def an_object(content: object, what: str) -> Fields:
    """An object."""
    if not isinstance(content, dict):
        fail(f"{what}: is no object")
    return content


def a_list(fields: Fields, key: str, most: int) -> list[Any]:
    """A list of at most `most`."""
    found = fields.get(key)
    if not isinstance(found, list) or len(found) > most:
        fail(f"{key}: must be a list of at most {most}")
    return found


def a_word(fields: Fields, key: str) -> str:
    """A short text."""
    found = fields.get(key)
    if not isinstance(found, str) or len(found) > 100:
        fail(f"{key}: must be a word")
    return found


def a_hash(fields: Fields, key: str) -> str:
    """A sha256."""
    found = a_word(fields, key)
    if len(found) != _HASH_LENGTH or set(found) - set("0123456789abcdef"):
        fail(f"{key}: is no sha256")
    return found


def a_count(fields: Fields, key: str, most: int) -> int:
    """A whole number from 0 to `most`."""
    return whole(fields.get(key), key, most)


def whole(value: object, what: str, most: int) -> int:
    """A whole number from 0 to `most`."""
    if type(value) is not int or not 0 <= value <= most:
        fail(f"{what}: must be a whole number from 0 to {most}")
    return value


def a_share(fields: Fields, key: str) -> float:
    """A number between 0 and 1."""
    found = number(fields.get(key), key)
    if found is None or not 0 <= found <= 1:
        fail(f"{key}: must lie between 0 and 1")
    return found


def number(value: object, what: str) -> float | None:
    """A finite number, or None."""
    if value is None:
        return None
    if type(value) not in (int, float):
        fail(f"{what}: must be a number")
    found = float(cast(float, value))
    if not math.isfinite(found):
        fail(f"{what}: must be finite")
    return found
