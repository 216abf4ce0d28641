"""docs/guarantees.md names tests for its promises: each of them is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def missing_tests(text: str) -> list[str]:
    """Those that a text names and nobody has written."""
    found = []
    for path, name in _TEST.findall(text):
        file = ROOT / path
        tree = ast.parse(file.read_text(encoding="utf-8")) if file.is_file() else ast.Module([], [])
        if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            found.append(f"{path}::{name}")
    return found


def test_every_test_that_is_named_is_there() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    assert len(_TEST.findall(text)) > 20
    assert missing_tests(text) == []


def test_one_that_is_not_there_is_noticed() -> None:
    for name in ("tests/test_guarantees.py::test_gone", "tests/gone.py::test_one_line"):
        assert missing_tests(f"`{name}`") == [name]
