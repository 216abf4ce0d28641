"""The note that makes a section a head that Darknet has no section for: layers/dfl.py reads it."""

from __future__ import annotations

from typing import Any

HEAD_NOTE = "head"


def dfl_note(
    level: int,
    levels: int,
    stride: int,
    reg_max: int,
    nc: int,
    one2one: bool = False,
    answers: bool = True,
) -> dict[str, Any]:
    """The note of a head: its place among the levels, cell in pixels, bins per side, classes.

    A side of one bin is a number itself. `one2one`: each object has one box, and NMS no work.
    Without `answers` it is there for the training of the layers that it reads, and for nothing
    else.
    """
    return {
        "kind": "dfl",
        "level": level,
        "levels": levels,
        "stride": stride,
        "reg_max": reg_max,
        "classes": nc,
        **({"one2one": True} if one2one else {}),
        **({} if answers else {"answers": False}),
    }
