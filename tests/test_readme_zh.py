"""README.zh-CN.md says what README.md says: the same parts, commands, tables and links.

Whoever changes a command or heading in README.md changes it there too; the words between them are
the translator's.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def headings(text: str) -> list[int]:
    """Level of each heading, in order."""
    return [len(found) for found in re.findall(r"^(#+) ", text, re.MULTILINE)]


def code_blocks(text: str) -> list[str]:
    """The indented blocks, as they stand."""
    found = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", text, re.MULTILINE)
    return [block.strip("\n") for block in found]


def first_cells(text: str) -> list[str]:
    """The first cell of each table row, but for the heads, which are translated."""
    rows = re.findall(r"^\|([^|]*)\|", text, re.MULTILINE)
    return [cell.strip() for cell in rows if "`" in cell]


def links(text: str) -> list[str]:
    """Where links and pictures lead, but for those between the two languages."""
    found = re.findall(r"\]\(([^)]+)\)", text)
    return [target for target in found if not target.startswith("README")]


PARTS = (headings, code_blocks, first_cells, links)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_both_languages_have_the_same(part) -> None:
    english, chinese = part(read("README.md")), part(read("README.zh-CN.md"))
    assert english, "nothing found to compare"
    for number, (ours, theirs) in enumerate(zip(english, chinese, strict=False), 1):
        assert ours == theirs, f"README.zh-CN.md, {part.__name__} {number}, should be:\n{ours}"
    assert len(chinese) == len(english)


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        (headings, "\n## ", "\n### "),
        (code_blocks, "--epochs 100", "--epochs 90"),
        (first_cells, "`val.py`", "`score.py`"),
        (links, "docs/results.md", "docs/other.md"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_difference_is_seen(part, old: str, new: str) -> None:
    text = read("README.zh-CN.md")
    assert part(text.replace(old, new, 1)) != part(text)


def test_it_is_chinese() -> None:
    """Each part outside code has Chinese words, so that none was left in English."""
    prose = re.sub(r"^    .*$", "", read("README.zh-CN.md"), flags=re.MULTILINE)
    parts = [part for part in re.split(r"^#+ ", prose, flags=re.MULTILINE) if part.strip()]
    assert all(re.search("[\u4e00-\u9fff]", part) for part in parts)
