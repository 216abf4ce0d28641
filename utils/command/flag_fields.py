"""Options whose fields are a command line's flags: from the flags' values, and back to them.

A field of a frozen dataclass is the flag of its name, or another that its metadata give (`flag`). A
field whose `default_factory` is a dataclass is a group of further flags. So a command line and a
caller in Python give the same options, and options can be saved as the flags that would give them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar, cast

T = TypeVar("T")

_NAME, _READ = "flag", "read"


def flag(name: str, read: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    """Metadata of a field: it is the flag `name`; `read` makes the field's value of the flag's."""
    return {_NAME: name, _READ: read}


def from_flags(kind: type[T], values: Mapping[str, Any]) -> T:
    """The dataclass `kind` from values by the names of flags; lists become tuples.

    A field with another `default_factory` than a group's is no flag and keeps its default, and so
    does one whose flag is not among the values: a run of an earlier build does not know it.
    """
    found: dict[str, Any] = {}
    for part in fields(cast(Any, kind)):
        if is_dataclass(part.default_factory):
            found[part.name] = from_flags(cast(type[Any], part.default_factory), values)
        elif part.default_factory is MISSING and _flag_of(part) in values:
            read = part.metadata.get(_READ) or _tuples
            found[part.name] = read(values[_flag_of(part)])
    return kind(**found)


def to_flags(options: Any) -> dict[str, Any]:
    """Values by the names of flags, as plain as JSON wants them: `from_flags` gives `options`."""
    return dict(_items(options))


def flag_names(kind: type) -> dict[str, str]:
    """Field -> flag, of a dataclass without groups."""
    return {part.name: _flag_of(part) for part in fields(cast(Any, kind))}


def _flag_of(part: Field[Any]) -> str:
    return part.metadata.get(_NAME) or part.name


def _items(options: Any) -> Iterator[tuple[str, Any]]:
    for part in fields(options):
        value = getattr(options, part.name)
        if is_dataclass(part.default_factory):
            yield from _items(value)
        elif part.default_factory is MISSING:
            yield _flag_of(part), _plain(value)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
