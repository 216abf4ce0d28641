"""YAML from a file: plain values only, and no more of them than the file has room for.

An alias stands for a value that is there already; a few lines with aliases of aliases stand for
more values than any memory holds. They are counted before anything is made of them. safe_load also
raises what the standard library does at wrong dates, numbers and base64: all is one error here.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import UserError
from ..optional import load

MOST_CHARACTERS = 1 << 18  # ten thousand class names; PyYAML reads as much in seconds
_DEEPEST = 20  # brackets in brackets: its scanner looks at all open ones at each
_MOST_VALUES = 1 << 20
_MOST_TEXT = 1 << 24
_BRACKET = re.compile(r"[\[\]{}]")
_Cost = tuple[int, int]  # values, characters of text


def parsed_yaml(text: str, source: object) -> Any:
    """The value of a YAML text; `source` names it in the UserError for what is none."""
    if len(text) > MOST_CHARACTERS:
        raise UserError(f"{source}: more than {MOST_CHARACTERS >> 10} KiB of YAML")
    if _brackets(text) > _DEEPEST:
        raise UserError(f"{source}: not YAML that is read here (brackets nested too deep)")
    yaml = load("yaml")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        values, characters = _cost(node, {})
        if values > _MOST_VALUES or characters > _MOST_TEXT:
            raise UserError(f"{source}: its aliases stand for more than is read here")
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise UserError(f"{source}: not YAML ({_in_one_line(error)})") from None
    except (RecursionError, OverflowError):
        raise UserError(f"{source}: not YAML (nested too deep, or a number too large)") from None


def _brackets(text: str) -> int:
    """How deep brackets are nested at most; those in quotes and comments count as well."""
    depth = deepest = 0
    for found in _BRACKET.finditer(text):
        depth = depth + 1 if found[0] in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _cost(node: Any, known: dict[int, _Cost | None]) -> _Cost:
    """What a node stands for with its aliases written out. Raises ValueError for a circle."""
    if isinstance(node.value, str):
        return 1, len(node.value)
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise ValueError("a value that holds itself")
        return found
    known[id(node)] = None
    values, characters = 1, 0
    for entry in node.value:
        for child in entry if isinstance(entry, tuple) else (entry,):
            more = _cost(child, known)
            values, characters = values + more[0], characters + more[1]
    known[id(node)] = values, characters
    return values, characters


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
