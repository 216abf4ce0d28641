"""The blocks of the YOLOv5 to YOLOv8 family, in sections; the zoo and the translator write them.

What a block reads is the draft's last layer; each function returns the layer that it ends with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

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


def added(draft: Draft, step: Step) -> int:
    """A step, and its input added."""
    source = draft.last
    step(draft)
    return draft.shortcut(source)


def c3k(draft: Draft, channels: int) -> int:
    """C3 of two bottlenecks of 3x3 kernels, at half the width."""
    half = ConvSpec(channels // 2)
    kernel = ConvSpec(channels // 2, 3)
    inner = partial(bottleneck, spec=BottleneckSpec((kernel, kernel), True))
    return c3(draft, half, [inner] * 2, half, ConvSpec(channels))


def narrow_bottleneck(draft: Draft, channels: int) -> int:
    """Two 3x3 convolutions, the first at half the width."""
    convs = (ConvSpec(channels // 2, 3), ConvSpec(channels, 3))
    return bottleneck(draft, BottleneckSpec(convs, True))


def scdown(draft: Draft, channels: int) -> int:
    """Channels first, then the size, of each channel by itself."""
    draft.put(ConvSpec(channels))
    return draft.put(ConvSpec(channels, 3, 2, groups=channels, activation="linear"))


def cib(draft: Draft, channels: int, large: bool) -> int:
    """Depthwise and 1x1 convolutions in turns; `large`: the one in the middle is 7x7 beside 3x3."""
    wide = 2 * channels

    def alone(filters: int, size: int = 3, activation: str = "swish") -> ConvSpec:
        return ConvSpec(filters, size, groups=filters, activation=activation)

    def inside(inner: Draft) -> int:
        inner.put(alone(channels))
        source = inner.put(ConvSpec(wide))
        if large:
            small = inner.put(alone(wide, activation="linear"))
            inner.read(source)
            inner.put(alone(wide, 7, "linear"))
            inner.shortcut(small, "swish")
        else:
            inner.put(alone(wide))
        inner.put(ConvSpec(channels))
        return inner.put(alone(channels))

    return added(draft, inside)


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


def last_conv(filters: int) -> ConvSpec:
    """What a branch of a head ends with."""
    return ConvSpec(filters, activation="linear", batch_normalize=False)


@dataclass(frozen=True)
class HeadKind:
    """reg_max: bins of a side; light: class branches of depthwise convolutions.

    two_sets: one for NMS, which only trains, and one that needs none. module: the library's class.
    """

    reg_max: int = 16
    light: bool = True
    two_sets: bool = False
    module: str = "Detect"


def fresh_heads(
    draft: Draft, sources: Sequence[int], widths: Sequence[int], nc: int, kind: HeadKind
) -> None:
    """The heads of a network at strides 8, 16, 32, ..., whose levels have `widths` channels.

    As wide as ultralytics makes them: the class branches by the classes.
    """
    reg_max, strides = kind.reg_max, [8 * 2**level for level in range(len(sources))]
    of_boxes = max(16, widths[0] // 4, 4 * reg_max)
    of_classes = max(widths[0], min(nc, 100))
    hidden = ConvSpec(of_boxes, 3)
    boxes = [(hidden, hidden, last_conv(4 * reg_max))] * len(sources)
    classes = [_class_branch(width, of_classes, nc, kind.light) for width in widths]
    for one2one in (False, True) if kind.two_sets else (False,):
        answers = one2one is kind.two_sets
        detect(draft, sources, boxes, classes, strides, reg_max, one2one, answers)


def _class_branch(width: int, hidden: int, nc: int, light: bool) -> tuple[ConvSpec, ...]:
    if not light:
        return ConvSpec(hidden, 3), ConvSpec(hidden, 3), last_conv(nc)
    pairs = [(ConvSpec(c, 3, groups=c), ConvSpec(hidden)) for c in (width, hidden)]
    return *pairs[0], *pairs[1], last_conv(nc)


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
