"""Which heads of a teacher answer to which of a student, cell by cell."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ...command.errors import UserError
from ...network.darknet import Network
from ...network.layers import Head
from .response import RESPONSES

Places = tuple[tuple[int, int], ...]


def alike(
    student: Sequence[Head],
    teacher: Sequence[Head],
    kinds: Collection[str] = tuple(RESPONSES),
    factor: float = 1.0,
) -> Places:
    """Positions (student's, teacher's) of heads of the same grid, anchors or bins, and classes.

    A teacher may have more heads, or others; heads of other `kinds` are left out. The teacher's
    input is `factor` times as large.
    """
    pairs = []
    for i, mine in enumerate(student):
        same = [
            j
            for j, other in enumerate(teacher)
            if mine.loss_kind in kinds and mine.answers_as(other, factor)
        ]
        pairs += [(i, same[0])] if same else []
    return tuple(pairs)


def matched_heads(
    student: Sequence[Head],
    teacher: Sequence[Head],
    kinds: Collection[str] = tuple(RESPONSES),
    factor: float = 1.0,
) -> Places:
    """The same. Raises UserError when none fits."""
    pairs = alike(student, teacher, kinds, factor)
    if not pairs:
        raise UserError(
            "--distill: no head of the teacher has the grid, anchors and classes of one of the "
            "student's; strategies 1 and 2 compare [yolo] heads cell by cell; --distill response "
            "also takes a teacher with other heads, by its boxes"
        )
    return pairs


def require_same_subject(teacher: Network, student: Network, names: Sequence[str]) -> None:
    """Raise UserError where classes or channels of the two networks are not the same.

    `names` are the data set's; the teacher's are known where its checkpoint holds them. Those
    spelt another way may mean the same; the same ones in another order cannot.
    """
    if teacher.nc != student.nc:
        raise UserError(
            f"--t-cfg: the teacher knows {teacher.nc} classes, the student {student.nc}"
        )
    if teacher.in_channels != student.in_channels:
        raise UserError(
            f"--t-cfg: the teacher reads images of {teacher.in_channels} channels, the student "
            f"of {student.in_channels}"
        )
    theirs, ours = list(teacher.names), list(names)
    if theirs != ours and sorted(theirs) == sorted(ours):
        place = next(k for k, name in enumerate(ours) if theirs[k] != name)
        raise UserError(
            f"--t-weights: the teacher's classes are in another order than the data set's: number "
            f"{place} is {theirs[place]}, not {ours[place]}"
        )


def require_labels_by_boxes(student: Sequence[Head]) -> None:
    """Raise UserError where a student cannot learn from boxes with doubts: [region] heads."""
    for head in student:
        if head.loss_kind not in RESPONSES:
            raise UserError(
                f"--distill response: the student's [{head.kind}] head at layer {head.index} "
                "learns from labels alone; --distill feature compares features, with any head"
            )
