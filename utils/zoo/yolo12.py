"""YOLO12 in its five sizes: attention in bands of the map, C3k2, heads with light class branches.

Tian et al., "YOLOv12: Attention-Centric Real-Time Object Detectors", 2025, arXiv:2502.12524.
"""

from __future__ import annotations

from .attention_blocks import a2c2f, area_block
from .draft import COCO_CLASSES, Draft
from .modules import names
from .pyramid import SIZES, Block, Pyramid, Size, Stage, title, write
from .ultralytics_blocks import HeadKind, c3k
from .yolo11 import c3k2_block
from .yolov8 import conv_block

_SCALED = ("l", "x")  # their attending stages add their input, and are less wide inside


def yolo12(name: str, nc: int = COCO_CLASSES) -> str:
    """One of the sizes n, s, m, l, x, at 640x640."""
    what = "C3k2, attention in bands, three heads without anchors."
    draft = Draft(*title(f"YOLO12{name}", "yolo12", what))
    return write(draft, _parts(name), nc, HeadKind())


def _attending(size: Size, channels: int, area: int, scaled: bool) -> Block:
    width, ratio = size.channels(channels), 1.2 if scaled else 2.0

    def twice(draft: Draft) -> int:
        area_block(draft, width // 2, area, ratio)
        return area_block(draft, width // 2, area, ratio)

    count = size.blocks(4)
    module = names.a2c2f(width, count, area, ratio, scaled)
    return Block(lambda draft: a2c2f(draft, width, [twice] * count, scaled), module)


def _parts(name: str) -> Pyramid:
    size, scaled = SIZES[name], name in _SCALED
    plain = "plain" if name in ("n", "s") else "c3k"

    def stage(stride: int, given: int, blocks: Block) -> Stage:
        return Stage(f"Stage at stride {stride}", conv_block(size, given), blocks)

    def neck(channels: int) -> Block:
        width = size.channels(channels)
        steps = [lambda draft: c3k(draft, width // 2)] * size.blocks(2)
        module = names.a2c2f(width, len(steps), area=0, ratio=2.0, scaled=False)
        return Block(lambda draft: a2c2f(draft, width, steps, scaled=False), module)

    return Pyramid(
        stem=conv_block(size, 64),
        stages=(
            stage(4, 128, c3k2_block(size, 256, plain, 0.25)),
            stage(8, 256, c3k2_block(size, 512, plain, 0.25)),
            stage(16, 512, _attending(size, 512, 4, scaled)),
            stage(32, 1024, _attending(size, 1024, 1, scaled)),
        ),
        end=(),
        up=(neck(512), neck(256)),
        down=(
            (conv_block(size, 256), neck(512)),
            (conv_block(size, 512), c3k2_block(size, 1024, "c3k")),
        ),
        widths=(size.channels(256), size.channels(512), size.channels(1024)),
    )
