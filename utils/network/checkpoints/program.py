"""What a pickled program would build, found out without running it.

A pickle is a program for a stack. Some hundred bytes of it can ask for a memo of 2^31 slots, or
build a pair of pairs of pairs of one value: looked at as text, or hashed as a key, that is more
than any machine ends with. So the opcodes are walked once with sizes in the place of values.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

# The largest that were seen: 0.15 MB, 50,314 values and a depth of 34 (a YOLOv10 of 4 classes).
MOST_PROGRAM_BYTES = 64 << 20
MOST_VALUES = 1 << 22
MOST_DEPTH = 200
_MARK = pickletools.markobject
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_OF_THE_MEMO = _GETS | {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_INTO = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}


@dataclass
class _Size:
    """Of a value: how many it holds if written out, shared ones each time, and how deep."""

    values: int = 1
    depth: int = 0


def require_bounded(program: bytes | BinaryIO, refused: Iterable[str] = ()) -> None:
    """Raise ValueError for a program that is none, or would build more than is read here.

    `refused`: opcodes that must not be in it. Of a file, one program is read, and its place is
    behind that then.
    """
    walk = _Walk(frozenset(refused))
    for opcode, argument, _ in pickletools.genops(program):
        walk.step(opcode, argument)


class _Walk:
    def __init__(self, refused: frozenset[str]) -> None:
        self._refused = refused
        self._stack: list[_Size | None] = []  # None: a mark
        self._memo: dict[int, _Size] = {}
        self._count = 0

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """One opcode; ValueError where it goes too far."""
        self._count += 1
        name = opcode.name
        if name in self._refused:
            raise ValueError(f"{name} {argument}"[:80])
        if name in _OF_THE_MEMO:
            self._of_the_memo(name, argument)
        elif name == "MARK":
            self._stack.append(None)
        elif name == "DUP":
            self._stack.append(self._top())
        elif opcode.stack_before:
            self._build(opcode)
        elif opcode.stack_after:
            self._stack.append(_Size())

    def _of_the_memo(self, name: str, argument: Any) -> None:
        slot = len(self._memo) if name == "MEMOIZE" else int(argument)
        if name in _GETS:
            if slot not in self._memo:
                raise ValueError(f"{name} {slot}")
            self._stack.append(self._memo[slot])
            return
        # All writers number the slots in order: a huge one is there to fill the memory.
        if not 0 <= slot <= self._count:
            raise ValueError(f"{name} {slot}")
        self._memo[slot] = self._top()

    def _build(self, opcode: pickletools.OpcodeInfo) -> None:
        taken = self._taken(opcode.stack_before)
        if not opcode.stack_after:
            return
        into, parts = (taken[0], taken[1:]) if opcode.name in _INTO else (_Size(), taken)
        for part in parts:
            into.values += part.values
            into.depth = max(into.depth, part.depth + 1)
        if into.values > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES} values, shared ones counted each time")
        if into.depth > MOST_DEPTH:
            raise ValueError(f"values nested more than {MOST_DEPTH} deep")
        self._stack.append(into)

    def _taken(self, wanted: list[Any]) -> list[_Size]:
        """What an opcode takes from the stack, in order."""
        found: list[_Size] = []
        if _MARK in wanted:
            while self._stack and (part := self._stack.pop()) is not None:
                found.append(part)
            wanted = wanted[: wanted.index(_MARK)]
        for _ in wanted:
            found.append(self._top())
            self._stack.pop()
        return found[::-1]

    def _top(self) -> _Size:
        found = self._stack[-1] if self._stack else None
        if found is None:
            raise ValueError("an opcode that finds nothing on the stack")
        return found
