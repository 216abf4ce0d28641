"""YOLOv10 in its six sizes: C2f and C2fCIB, SCDown, attention, two sets of heads.

Wang et al., "YOLOv10: Real-Time End-to-End Object Detection", 2024, arXiv:2405.14458.
"""

from __future__ import annotations

from functools import partial

from .attention_blocks import psa
from .draft import COCO_CLASSES, ConvSpec, Draft
from .modules import names
from .pyramid import Block, Pyramid, Size, Stage, title, write
from .ultralytics_blocks import HeadKind, c2f, cib, scdown
from .yolov8 import c2f_block, conv_block, sppf_block

SIZES = {
    "n": Size(0.33, 0.25, 1024),
    "s": Size(0.33, 0.50, 1024),
    "m": Size(0.67, 0.75, 768),
    "b": Size(0.67, 1.00, 512),
    "l": Size(1.0, 1.00, 512),
    "x": Size(1.0, 1.25, 512),
}
# Which stages and neck blocks are C2fCIB: the backbone's at strides 16 and 32, the neck's at 16 on
# the way up, 16 and 32 on the way down. The small sizes' have kernels of 7x7.
_CIB = {
    "n": ("neck 32",),
    "s": ("stage 32", "neck 32"),
    "m": ("stage 32", "neck 16", "neck 32"),
    "b": ("stage 32", "up 16", "neck 16", "neck 32"),
    "l": ("stage 32", "up 16", "neck 16", "neck 32"),
    "x": ("stage 16", "stage 32", "up 16", "neck 16", "neck 32"),
}
_LARGE = ("n", "s")


def yolov10(name: str, nc: int = COCO_CLASSES) -> str:
    """One of the sizes n, s, m, b, l, x, at 640x640."""
    what = "C2f and C2fCIB, SCDown, SPPF, attention, two sets of heads, of which one needs no NMS."
    draft = Draft(*title(f"YOLOv10{name}", "yolov10", what))
    return write(draft, _parts(name), nc, HeadKind(two_sets=True, module="v10Detect"))


def _parts(name: str) -> Pyramid:
    size = SIZES[name]

    def blocks(place: str, channels: int, count: int, add: bool) -> Block:
        if place not in _CIB[name]:
            return c2f_block(size, channels, count, add)
        width, large = size.channels(channels), name in _LARGE
        half = width // 2
        steps = [partial(cib, channels=half, large=large)] * size.blocks(count)
        halves, last = (ConvSpec(half), ConvSpec(half)), ConvSpec(width)
        module = names.c2f_cib(width, len(steps), large)
        return Block(lambda draft: c2f(draft, halves, steps, last), module)

    def down(channels: int) -> Block:
        width = size.channels(channels)
        return Block(lambda draft: scdown(draft, width), names.scdown(width))

    def stage(stride: int, channels: int, count: int) -> Stage:
        said = f"Stage at stride {stride}, blocks: {size.blocks(count)}"
        halving = conv_block(size, channels) if stride < 16 else down(channels)
        return Stage(said, halving, blocks(f"stage {stride}", channels, count, add=True))

    widest = size.channels(1024)
    attending = Block(lambda draft: psa(draft, widest), names.psa(widest))
    return Pyramid(
        stem=conv_block(size, 64),
        stages=(stage(4, 128, 3), stage(8, 256, 6), stage(16, 512, 6), stage(32, 1024, 3)),
        end=(
            ("SPPF", sppf_block(widest)),
            ("PSA", attending),
        ),
        up=(blocks("up 16", 512, 3, add=False), blocks("up 8", 256, 3, add=False)),
        down=(
            (conv_block(size, 256), blocks("neck 16", 512, 3, add=False)),
            (down(512), blocks("neck 32", 1024, 3, add=False)),
        ),
        widths=(size.channels(256), size.channels(512), widest),
    )
