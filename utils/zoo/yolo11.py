"""YOLO11 and YOLO26 in their five sizes: C3k2, SPPF, C2PSA, heads with light class branches.

YOLO26 has sides that are plain numbers, two sets of heads, and attention in its last C3k2.
"""

from __future__ import annotations

from .attention_blocks import psa, psa_block
from .draft import COCO_CLASSES, ConvSpec, Draft
from .modules import names
from .pyramid import SIZES, Block, Pyramid, Size, Stage, title, write
from .ultralytics_blocks import HeadKind, added, c2f, c3k, narrow_bottleneck, sppf
from .yolov8 import conv_block, sppf_block

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


def c3k2_block(size: Size, channels: int, inner: str, share: float = 0.5) -> Block:
    """C2f of `inner`: "plain" bottlenecks, "c3k", or, once, "attention"; `share` of the width."""
    width = size.channels(channels)
    hidden = int(width * share)
    kinds = {"plain": narrow_bottleneck, "c3k": c3k, "attention": _attending}
    count = 1 if inner == "attention" else size.blocks(2)
    steps = [lambda draft: kinds[inner](draft, hidden)] * count
    module = names.c3k2(width, count, inner, share)
    return Block(lambda draft: c2f(draft, (ConvSpec(hidden),) * 2, steps, ConvSpec(width)), module)


def _attending(draft: Draft, channels: int) -> int:
    narrow_bottleneck(draft, channels)
    return psa_block(draft, channels)


def _parts(name: str, of_26: bool) -> Pyramid:
    size = SIZES[name]
    plain = "c3k" if name in _DEEP else "plain"
    in_neck = "c3k" if of_26 else plain

    def stage(stride: int, channels: int, inner: str, share: float, given: int) -> Stage:
        said = f"Stage at stride {stride}, blocks: {size.blocks(2)}"
        blocks = c3k2_block(size, channels, inner, share)
        return Stage(said, conv_block(size, given), blocks)

    def neck(channels: int) -> Block:
        return c3k2_block(size, channels, in_neck)

    widest, count = size.channels(1024), size.blocks(2)

    def pooled(draft: Draft) -> int:
        linear = ConvSpec(widest // 2, activation="linear")
        return added(draft, lambda inner: sppf(inner, linear, ConvSpec(widest)))

    with_sum = Block(pooled, names.sppf(widest, added=True))
    return Pyramid(
        stem=conv_block(size, 64),
        stages=(
            stage(4, 256, plain, 0.25, 128),
            stage(8, 512, plain, 0.25, 256),
            stage(16, 512, "c3k", 0.5, 512),
            stage(32, 1024, "c3k", 0.5, 1024),
        ),
        end=(
            ("SPPF", with_sum if of_26 else sppf_block(widest)),
            ("C2PSA", Block(lambda draft: psa(draft, widest, count), names.c2psa(widest, count))),
        ),
        up=(neck(512), neck(256)),
        down=(
            (conv_block(size, 256), neck(512)),
            (conv_block(size, 512), c3k2_block(size, 1024, "attention" if of_26 else "c3k")),
        ),
        widths=(size.channels(256), size.channels(512), widest),
    )
