"""YOLOv8 in its five sizes: C2f backbone and neck, SPPF, heads without anchors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .draft import COCO_CLASSES, ConvSpec, Draft
from .ultralytics_blocks import BottleneckSpec, bottleneck, c2f, detect, sppf

REG_MAX = 16
STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class Size:
    """depth: share of the bottlenecks; width: share of the channels, of at most `most`."""

    depth: float
    width: float
    most: int

    def channels(self, base: int) -> int:
        """Channels for `base` of the full size, in multiples of 8."""
        return -(-int(min(base, self.most) * self.width) // 8) * 8

    def blocks(self, base: int) -> int:
        """Bottlenecks for `base` of the full size."""
        return max(1, round(base * self.depth))


SIZES = {
    "n": Size(1 / 3, 0.25, 1024),
    "s": Size(1 / 3, 0.50, 1024),
    "m": Size(2 / 3, 0.75, 768),
    "l": Size(1.0, 1.00, 512),
    "x": Size(1.0, 1.25, 512),
}


def yolov8(name: str) -> str:
    """One of the sizes n, s, m, l, x, at 640x640."""
    size = SIZES[name]
    draft = Draft(
        f"YOLOv8{name}: C2f backbone and neck, SPPF, three heads without anchors.",
        "Written by `python -m utils.zoo`; change it in utils/zoo/yolov8.py.",
        "Heads are [route] sections with a note; docs/yolov8.md tells how to decode them.",
    )
    _net(draft)
    stride8, stride16, stride32 = _backbone(draft, size)
    draft.note("Neck: up to stride 16")
    draft.read(stride32)
    draft.route(draft.upsample(), stride16)
    level16 = _c2f(draft, size, 512, 3, add=False)
    draft.note("Neck: up to stride 8")
    draft.read(level16)
    draft.route(draft.upsample(), stride8)
    level8 = _c2f(draft, size, 256, 3, add=False)
    draft.note("Neck: down to stride 16")
    draft.route(_conv(draft, size, 256, 2), level16)
    level16 = _c2f(draft, size, 512, 3, add=False)
    draft.note("Neck: down to stride 32")
    draft.route(_conv(draft, size, 512, 2), stride32)
    level32 = _c2f(draft, size, 1024, 3, add=False)
    _detect(draft, size, (level8, level16, level32))
    return draft.text()


YOLOV8: dict[str, Callable[[], str]] = {f"yolov8{name}": partial(yolov8, name) for name in SIZES}


def _backbone(draft: Draft, size: Size) -> tuple[int, int, int]:
    """Returns the ends of the stages at strides 8, 16 and 32."""
    draft.note("Backbone")
    _conv(draft, size, 64, 2)
    ends = []
    for level, (channels, blocks) in enumerate(((128, 3), (256, 6), (512, 6), (1024, 3)), 2):
        draft.note(f"Stage at stride {2**level}, bottlenecks: {size.blocks(blocks)}")
        _conv(draft, size, channels, 2)
        ends.append(_c2f(draft, size, channels, blocks, add=True))
    draft.note("SPPF")
    width = size.channels(1024)
    ends[3] = sppf(draft, ConvSpec(width // 2), ConvSpec(width))
    draft.end_backbone()
    return ends[1], ends[2], ends[3]


def _conv(draft: Draft, size: Size, channels: int, stride: int) -> int:
    return draft.put(ConvSpec(size.channels(channels), 3, stride))


def _c2f(draft: Draft, size: Size, channels: int, blocks: int, add: bool) -> int:
    width = size.channels(channels)
    half = ConvSpec(width // 2)
    inner = ConvSpec(width // 2, 3)
    block = partial(bottleneck, spec=BottleneckSpec((inner, inner), add))
    return c2f(draft, (half, half), [block] * size.blocks(blocks), ConvSpec(width))


def _detect(draft: Draft, size: Size, sources: tuple[int, int, int]) -> None:
    smallest = size.channels(256)
    box_width = max(16, smallest // 4, 4 * REG_MAX)
    class_width = max(smallest, min(COCO_CLASSES, 100))

    def branch(width: int, filters: int) -> tuple[ConvSpec, ...]:
        last = ConvSpec(filters, activation="linear", batch_normalize=False)
        return ConvSpec(width, 3), ConvSpec(width, 3), last

    boxes, classes = branch(box_width, 4 * REG_MAX), branch(class_width, COCO_CLASSES)
    detect(draft, sources, [boxes] * 3, [classes] * 3, STRIDES, REG_MAX)


def _net(draft: Draft) -> None:
    draft.net(
        batch=16,
        subdivisions=1,
        width=640,
        height=640,
        channels=3,
        letter_box=1,
        momentum=0.937,
        decay=0.0005,
        learning_rate=0.01,
        burn_in=1000,
        max_batches=500000,
        policy="steps",
        steps=[400000, 450000],
        scales="0.1,0.1",
        saturation=1.7,
        exposure=1.4,
        hue=0.015,
        mosaic=1,
    )
