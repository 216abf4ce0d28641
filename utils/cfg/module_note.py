"""Which module of ultralytics holds a convolution: a note, for the way back.

    # darkslim module "2.cv1:first"

The module by its place in the list of blocks, and, where one module is several sections, which part
of it a section is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from .notes import read_note
from .parse import Section

MODULE_NOTE = "module"
MODEL_NOTE = "ultralytics"  # in [net]: the description that the library builds the network from

HALVES = ("first", "second")  # of one convolution, as many channels in both
QUERIES, KEYS, VALUES = "queries", "keys", "values"  # of one convolution, head by head
LIKE_VALUES = "like-values"  # queries where the module has as many of them as of values
BRANCHES = "branches"  # parallel convolutions as one
TRANSPOSED = "transposed"  # a transposed convolution, behind it [reorg] reverse=1
SCALE = "scale"  # a vector that channels are multiplied by
FIXED = "fixed"  # numbers that the module does not hold: averages, paddings
_PARTS = ("", *HALVES, QUERIES, KEYS, VALUES, LIKE_VALUES, BRANCHES, TRANSPOSED, SCALE, FIXED)


@dataclass(frozen=True)
class Held:
    """module: as `22.cv2.0.1`. part: one of the words above; "": the section is all of it."""

    module: str
    part: str = ""

    def text(self) -> str:
        """The note's value."""
        return f"{self.module}:{self.part}" if self.part else self.module


def module_line(held: Held) -> str:
    """The note as a line of a section."""
    return f"# darkslim {MODULE_NOTE} {json.dumps(held.text())}"


def held_by(section: Section) -> Held | None:
    """What the section's note says; None without one. Raises CfgError for any other note."""
    found = read_note(section, MODULE_NOTE)
    if found is None:
        return None
    module, _, part = found.partition(":") if isinstance(found, str) else ("", "", "")
    if not module or part not in _PARTS:
        raise section.error(f"the note '# darkslim {MODULE_NOTE}' names no module: {found!s:.40}")
    return Held(module, part)
