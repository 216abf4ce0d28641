"""YOLO11 and YOLO26 in their five sizes: C3k2, SPPF, C2PSA, heads with light class branches.

YOLO26 has sides that are plain numbers, two sets of heads, and attention in its last C3k2.
"""

from __future__ import annotations

from .attention_blocks import psa, psa_block
from .draft import COCO_CLASSES, ConvSpec, Draft
from .pyramid import SIZES, Pyramid, Size, Stage, title, write
from .ultralytics_blocks import HeadKind, Step, added, c2f, c3k, narrow_bottleneck, sppf
from .yolov8 import conv_step, sppf_step

_DEEP = ("m", "l", "x")  # all their C3k2 hold C3k


def yolo11(name: str, nc: int = COCO_CLASSES) -> str:
    """One of the sizes n, s, m, l, x, at 640x640."""
    what = "C3k2 backbone and neck, SPPF, attention, three heads without anchors."
    draft = Draft(*title(f"YOLO11{name}", "yolo11", what))
    return write(draft, _parts(name, of_26=False), nc, HeadKind())


def yolo26(name: str, nc: int = COCO_CLASSES) -> str:
    """One of the sizes n, s, m, l, x, at 640x640."""
    what = "C3k2 backbone and neck, SPPF, attention, two sets of heads, of which one needs no NMS."
    draft = Draft(*title(f"YOLO26{name}", "yolo11", what))
    return write(draft, _parts(name, of_26=True), nc, HeadKind(reg_max=1, two_sets=True))


def c3k2_step(size: Size, channels: int, inner: str, share: float = 0.5) -> Step:
    """C2f of `inner`: "plain" bottlenecks, "c3k", or, once, "attention"; `share` of the width."""
    width = size.channels(channels)
    hidden = int(width * share)
    kinds = {"plain": narrow_bottleneck, "c3k": c3k, "attention": _attending}
    count = 1 if inner == "attention" else size.blocks(2)
    steps = [lambda draft: kinds[inner](draft, hidden)] * count
    return lambda draft: c2f(draft, (ConvSpec(hidden),) * 2, steps, ConvSpec(width))


def _attending(draft: Draft, channels: int) -> int:
    narrow_bottleneck(draft, channels)
    return psa_block(draft, channels)


def _parts(name: str, of_26: bool) -> Pyramid:
    size = SIZES[name]
    plain = "c3k" if name in _DEEP else "plain"
    in_neck = "c3k" if of_26 else plain

    def stage(stride: int, channels: int, inner: str, share: float, given: int) -> Stage:
        said = f"Stage at stride {stride}, blocks: {size.blocks(2)}"
        blocks = c3k2_step(size, channels, inner, share)
        return Stage(said, conv_step(size, given), blocks)

    def neck(channels: int) -> Step:
        return c3k2_step(size, channels, in_neck)

    widest = size.channels(1024)

    def pooled(draft: Draft) -> int:
        linear = ConvSpec(widest // 2, activation="linear")
        return added(draft, lambda inner: sppf(inner, linear, ConvSpec(widest)))

    return Pyramid(
        stem=conv_step(size, 64),
        stages=(
            stage(4, 256, plain, 0.25, 128),
            stage(8, 512, plain, 0.25, 256),
            stage(16, 512, "c3k", 0.5, 512),
            stage(32, 1024, "c3k", 0.5, 1024),
        ),
        end=(
            ("SPPF", pooled if of_26 else sppf_step(widest)),
            ("C2PSA", lambda draft: psa(draft, widest, size.blocks(2))),
        ),
        up=(neck(512), neck(256)),
        down=(
            (conv_step(size, 256), neck(512)),
            (conv_step(size, 512), c3k2_step(size, 1024, "attention" if of_26 else "c3k")),
        ),
        widths=(size.channels(256), size.channels(512), widest),
    )
