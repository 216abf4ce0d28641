"""The blocks of the YOLOv5 to YOLOv8 family, in sections; the zoo and the translator write them.

What a block reads is the draft's last layer; each function returns the layer that it ends with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..cfg.head_note import dfl_note
from .draft import ConvSpec, Draft

SPPF_POOLS = 3

# What stands inside a block: reads the draft's last layer, returns the one that it ends with.
Step = Callable[[Draft], int]


@dataclass(frozen=True)
class BottleneckSpec:
    """Convolutions in a row; `add`: their input is added to what comes out."""

    convs: tuple[ConvSpec, ...]
    add: bool


def bottleneck(draft: Draft, spec: BottleneckSpec) -> int:
    """The convolutions and, if the input is added, a `[shortcut]`."""
    source = draft.last
    for conv in spec.convs:
        draft.put(conv)
    return draft.shortcut(source) if spec.add else draft.last


def c2f(
    draft: Draft,
    halves: tuple[ConvSpec, ConvSpec],
    inner: Sequence[Step],
    last: ConvSpec,
) -> int:
    """Two halves, inner blocks one after the other from the second; all of these side by side.

    The halves are one convolution in the original. As two, each half has channels that can go,
    and they need not stay equal.
    """
    source = draft.last
    parts = [draft.put(halves[0])]
    draft.route(source)
    parts.append(draft.put(halves[1]))
    parts += [step(draft) for step in inner]
    draft.route(*parts)
    return draft.put(last)


def c3(
    draft: Draft,
    through: ConvSpec,
    inner: Sequence[Step],
    around: ConvSpec,
    last: ConvSpec,
) -> int:
    """Inner blocks on one way, one convolution on the other."""
    source = draft.last
    draft.put(through)
    for step in inner:
        step(draft)
    end = draft.last
    draft.read(source)
    beside = draft.put(around)
    draft.route(end, beside)
    return draft.put(last)


def sppf(
    draft: Draft, first: ConvSpec, last: ConvSpec, size: int = 5, pools: int = SPPF_POOLS
) -> int:
    """The same pooling several times, one after the other, all of them side by side."""
    parts = [draft.put(first)]
    parts += [draft.maxpool(size, 1) for _ in range(pools)]
    draft.route(*parts)
    return draft.put(last)


def detect(
    draft: Draft,
    sources: Sequence[int],
    boxes: Sequence[Sequence[ConvSpec]],
    classes: Sequence[Sequence[ConvSpec]],
    strides: Sequence[int],
    reg_max: int,
    one2one: bool = False,
    answers: bool = True,
) -> None:
    """Per level a branch of boxes and one of classes, joined as a dfl head.

    `one2one`: what they answer needs no NMS. Heads that do not answer only train what they read,
    and come before those that do.
    """
    nc = classes[0][-1].filters
    for level, source in enumerate(sources):
        what = "Head" if answers else "For the training alone: head"
        draft.note(f"{what} at stride {strides[level]}")
        ends = []
        for branch in (boxes[level], classes[level]):
            draft.read(source)
            for spec in branch:
                draft.put(spec)
            ends.append(draft.last)
        note = dfl_note(level, len(sources), strides[level], reg_max, nc, one2one, answers)
        draft.head(note, *ends)
