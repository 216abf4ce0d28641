"""Inert stand-ins for the objects in a checkpoint: they keep their state and do nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ...command.errors import UserError


class Stub:
    """An object of a class that is not loaded. Its attributes are what the file says."""

    _module = ""
    _name = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Stub:
        """Whatever a file calls it with is dropped."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is done."""

    def __call__(self, *args: Any, **kwargs: Any) -> Stub:
        """Calling a stand-in gives the stand-in."""
        return self

    def __setstate__(self, state: Any) -> None:
        """A dict (or the dict of a pair) becomes the attributes; anything else is dropped."""
        if isinstance(state, tuple) and state and isinstance(state[0], dict):
            state = state[0]
        if isinstance(state, dict):
            vars(self).update({k: v for k, v in state.items() if isinstance(k, str)})

    # Containers that a stand-in is filled like: list and dict subclasses.
    def append(self, item: Any) -> None:
        """Dropped."""

    def add(self, item: Any) -> None:
        """Dropped."""

    def extend(self, items: Any) -> None:
        """Dropped."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Dropped."""


def stub_class(module: str, name: str) -> type[Stub]:
    """A fresh class: what a file does to it is forgotten with the file."""
    return type(name.rpartition(".")[2] or "Stub", (Stub,), {"_module": module, "_name": name})


def _shown(found: Any) -> str:
    """A value in a message; of one that holds others only the kind: its text may have no end."""
    return str(found)[:40] if isinstance(found, str | int | float) else type(found).__name__


class Node:
    """A module of a checkpoint, read with care: each look says what is missing, and where."""

    def __init__(self, stub: Any, place: str) -> None:
        """`place`: how a message is to call it, as `model.22`. UserError if it is no module."""
        if not isinstance(stub, Stub) or not isinstance(vars(stub).get("_modules"), Mapping):
            raise UserError(f"{place}: no module of a network ({type(stub).__name__})")
        self._state = vars(stub)
        self.place = place
        self.kind = type(stub).__name__

    def error(self, message: str) -> UserError:
        """An error about this module, ready to raise."""
        return UserError(f"{self.place} ({self.kind}): {message}")

    def has(self, name: str) -> bool:
        """Whether it holds a module, tensor or attribute of this name (that is not None)."""
        return self._find(name) is not None

    def child(self, name: str) -> Node:
        """The module of this name."""
        found = self._state["_modules"].get(name)
        if found is None:
            raise self.error(f"has no module '{name}'")
        return Node(found, f"{self.place}.{name}")

    def children(self) -> Iterator[Node]:
        """Its modules in order."""
        for name in self._state["_modules"]:
            yield self.child(str(name))

    def tensor(self, name: str) -> Tensor:
        """A parameter or buffer, as float32. Raises UserError without one."""
        found = self._find(name)
        if not isinstance(found, Tensor):
            raise self.error(f"has no tensor '{name}'")
        return found.detach().to(torch.float32)

    def number(self, name: str, default: float | None = None) -> float:
        """An attribute that is a number, or several that are equal, as stride=(2, 2)."""
        found = self._find(name)
        found = default if found is None else found
        values = set(found) if isinstance(found, tuple | list) and found else {found}
        value = values.pop()
        if values or not isinstance(value, int | float):
            raise self.error(f"'{name}' must be one number, not {_shown(found)}")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """As `number`, whole."""
        value = self.number(name, default)
        if value != int(value):
            raise self.error(f"'{name}' must be a whole number, not {value}")
        return int(value)

    def value(self, name: str, default: Any = None) -> Any:
        """Any attribute."""
        found = self._find(name)
        return default if found is None else found

    def _find(self, name: str) -> Any:
        for part in ("_parameters", "_buffers", "_modules"):
            held = self._state.get(part)
            if isinstance(held, Mapping) and held.get(name) is not None:
                return held[name]
        return self._state.get(name)
