"""The note that makes a section a head which Darknet has no section for (see layers/dfl.py)."""

from __future__ import annotations

from typing import Any

HEAD_NOTE = "head"


def dfl_note(level: int, levels: int, stride: int, reg_max: int, nc: int) -> dict[str, Any]:
    """The note of a head: its place among the levels, cell in pixels, bins per side, classes."""
    return {
        "kind": "dfl",
        "level": level,
        "levels": levels,
        "stride": stride,
        "reg_max": reg_max,
        "classes": nc,
    }
