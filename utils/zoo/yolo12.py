"""YOLO12 in its five sizes: attention in bands of the map, C3k2, heads with light class branches.

Tian et al., "YOLOv12: Attention-Centric Real-Time Object Detectors", 2025, arXiv:2502.12524.
"""

from __future__ import annotations

from .attention_blocks import a2c2f, area_block
from .draft import COCO_CLASSES, Draft
from .pyramid import SIZES, Pyramid, Size, Stage, title, write
from .ultralytics_blocks import HeadKind, Step, c3k
from .yolo11 import c3k2_step
from .yolov8 import conv_step

_SCALED = ("l", "x")  # their attending stages add their input, and are less wide inside


def yolo12(name: str, nc: int = COCO_CLASSES) -> str:
    """One of the sizes n, s, m, l, x, at 640x640."""
    what = "C3k2, attention in bands, three heads without anchors."
    draft = Draft(*title(f"YOLO12{name}", "yolo12", what))
    return write(draft, _parts(name), nc, HeadKind())


def _attending(size: Size, channels: int, area: int, scaled: bool) -> Step:
    width, ratio = size.channels(channels), 1.2 if scaled else 2.0

    def twice(draft: Draft) -> int:
        area_block(draft, width // 2, area, ratio)
        return area_block(draft, width // 2, area, ratio)

    return lambda draft: a2c2f(draft, width, [twice] * size.blocks(4), scaled)


def _parts(name: str) -> Pyramid:
    size, scaled = SIZES[name], name in _SCALED
    plain = "plain" if name in ("n", "s") else "c3k"

    def stage(stride: int, given: int, blocks: Step) -> Stage:
        return Stage(f"Stage at stride {stride}", conv_step(size, given), blocks)

    def neck(channels: int) -> Step:
        width = size.channels(channels)
        steps = [lambda draft: c3k(draft, width // 2)] * size.blocks(2)
        return lambda draft: a2c2f(draft, width, steps, scaled=False)

    return Pyramid(
        stem=conv_step(size, 64),
        stages=(
            stage(4, 128, c3k2_step(size, 256, plain, 0.25)),
            stage(8, 256, c3k2_step(size, 512, plain, 0.25)),
            stage(16, 512, _attending(size, 512, 4, scaled)),
            stage(32, 1024, _attending(size, 1024, 1, scaled)),
        ),
        end=(),
        up=(neck(512), neck(256)),
        down=(
            (conv_step(size, 256), neck(512)),
            (conv_step(size, 512), c3k2_step(size, 1024, "c3k")),
        ),
        widths=(size.channels(256), size.channels(512), size.channels(1024)),
    )
