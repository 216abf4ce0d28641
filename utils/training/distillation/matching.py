"""Which heads of a teacher answer to which of a student."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ...command.errors import UserError
from ...network.layers import Head
from .response import RESPONSES


def matched_heads(
    student: Sequence[Head],
    teacher: Sequence[Head],
    kinds: Collection[str] = tuple(RESPONSES),
) -> tuple[tuple[int, int], ...]:
    """Positions (student's, teacher's) of heads of the same grid, anchors or bins, and classes.

    A teacher may have more heads, or others; heads of other `kinds` are left out. Raises UserError
    when none fits.
    """
    pairs = []
    for i, mine in enumerate(student):
        same = [
            j
            for j, other in enumerate(teacher)
            if mine.loss_kind in kinds and mine.answers_as(other)
        ]
        pairs += [(i, same[0])] if same else []
    if not pairs:
        raise UserError(
            "--distill: no head of the teacher has the grid, anchors and classes of one of the "
            "student's; strategies 1 and 2 compare [yolo] heads cell by cell, response YOLOv8's "
            "as well; --distill feature compares features, with any head"
        )
    return tuple(pairs)
