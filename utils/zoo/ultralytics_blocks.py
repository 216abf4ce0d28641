"""The blocks of the YOLOv5 to YOLOv8 family, in sections; the zoo and the translator write them.

What a block reads is the draft's last layer; each function returns the layer that it ends with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..cfg.head_note import dfl_note
from .draft import ConvSpec, Draft

SPPF_POOLS = 3


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
    bottlenecks: Sequence[BottleneckSpec],
    last: ConvSpec,
) -> int:
    """Two halves, bottlenecks one after the other from the second; all of these side by side.

    The halves are one convolution in the original. As two, each half has channels that can go,
    and they need not stay equal.
    """
    source = draft.last
    parts = [draft.put(halves[0])]
    draft.route(source)
    parts.append(draft.put(halves[1]))
    parts += [bottleneck(draft, spec) for spec in bottlenecks]
    draft.route(*parts)
    return draft.put(last)


def c3(
    draft: Draft,
    through: ConvSpec,
    bottlenecks: Sequence[BottleneckSpec],
    around: ConvSpec,
    last: ConvSpec,
) -> int:
    """Bottlenecks on one way, one convolution on the other."""
    source = draft.last
    draft.put(through)
    for spec in bottlenecks:
        bottleneck(draft, spec)
    inner = draft.last
    draft.route(source)
    beside = draft.put(around)
    draft.route(inner, beside)
    return draft.put(last)


def sppf(draft: Draft, first: ConvSpec, last: ConvSpec, size: int = 5) -> int:
    """The same pooling three times, one after the other, all of them side by side."""
    parts = [draft.put(first)]
    parts += [draft.maxpool(size, 1) for _ in range(SPPF_POOLS)]
    draft.route(*parts)
    return draft.put(last)


def detect(
    draft: Draft,
    sources: Sequence[int],
    boxes: Sequence[Sequence[ConvSpec]],
    classes: Sequence[Sequence[ConvSpec]],
    strides: Sequence[int],
    reg_max: int,
) -> None:
    """Per level a branch of boxes and one of classes, joined as a dfl head."""
    nc = classes[0][-1].filters
    for level, source in enumerate(sources):
        draft.note(f"Head at stride {strides[level]}")
        ends = []
        for branch in (boxes[level], classes[level]):
            draft.read(source)
            for spec in branch:
                draft.put(spec)
            ends.append(draft.last)
        draft.head(dfl_note(level, len(sources), strides[level], reg_max, nc), *ends)
