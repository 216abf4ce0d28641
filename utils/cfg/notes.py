"""Notes: comment lines that say something to this program, and nothing to any runtime.

    # darkslim head {"kind": "dfl", "stride": 8}

A note stands inside the section that it is about, so that it moves, and goes, with it: no note
holds the index of a layer. Runtimes skip comments, while some refuse unknown keys or sections.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from .parse import Line, Section

INITIAL_NOTE = "initial"  # all weights of a convolution before a training from random ones

_NOTE = re.compile(r"\s*#\s*darkslim\s+([a-z]+)\s+(.*)", re.DOTALL)


def read_note(section: Section, name: str) -> Any:
    """The value of the section's first note `name`; None without one.

    Raises CfgError for a note that is no JSON.
    """
    for line in section.lines[1:]:
        found = _NOTE.fullmatch(line.text)
        if found is None or found[1] != name:
            continue
        try:
            return json.loads(found[2])
        except (ValueError, RecursionError):
            where = f"{section.source}:{line.number}"
            raise section.error(f"the note at {where} ('# darkslim {name}') is no JSON") from None
    return None


def with_note(section: Section, name: str, value: Any) -> Section:
    """The section with this note, in the place of an older one or below its header."""
    bare = without_note(section, name)
    text = f"# darkslim {name} {json.dumps(value)}\n"  # JSON is ASCII and has no line breaks
    header = bare.lines[0]
    if not header.text.endswith("\n"):
        header = replace(header, text=header.text + "\n")
    return replace(bare, lines=(header, Line(text, header.number), *bare.lines[1:]))


def without_note(section: Section, name: str) -> Section:
    """The section without any note `name`."""

    def is_it(line: Line) -> bool:
        found = _NOTE.fullmatch(line.text)
        return found is not None and found[1] == name

    return replace(section, lines=tuple(line for line in section.lines if not is_it(line)))
