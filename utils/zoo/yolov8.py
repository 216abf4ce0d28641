"""YOLOv8 in its five sizes: C2f backbone and neck, SPPF, heads without anchors."""

from __future__ import annotations

from functools import partial

from .draft import COCO_CLASSES, ConvSpec, Draft
from .modules import names
from .pyramid import Block, Pyramid, Size, Stage, title, write
from .ultralytics_blocks import BottleneckSpec, HeadKind, bottleneck, c2f, sppf

SIZES = {
    "n": Size(1 / 3, 0.25, 1024),
    "s": Size(1 / 3, 0.50, 1024),
    "m": Size(2 / 3, 0.75, 768),
    "l": Size(1.0, 1.00, 512),
    "x": Size(1.0, 1.25, 512),
}


def yolov8(name: str, nc: int = COCO_CLASSES) -> str:
    """One of the sizes n, s, m, l, x, at 640x640."""
    size = SIZES[name]
    what = "C2f backbone and neck, SPPF, three heads without anchors."
    draft = Draft(*title(f"YOLOv8{name}", "yolov8", what, "python -m utils.zoo"))
    return write(draft, _parts(size), nc, HeadKind(light=False))


def conv_block(size: Size, channels: int, stride: int = 2) -> Block:
    """A 3x3 convolution."""
    spec = ConvSpec(size.channels(channels), 3, stride)
    return Block(lambda draft: draft.put(spec), names.conv(spec.filters, stride))


def c2f_block(size: Size, channels: int, blocks: int, add: bool) -> Block:
    """A C2f of bottlenecks; `add`: each adds its input."""
    width = size.channels(channels)
    half, inner = ConvSpec(width // 2), ConvSpec(width // 2, 3)
    steps = [partial(bottleneck, spec=BottleneckSpec((inner, inner), add))] * size.blocks(blocks)
    module = names.c2f(width, len(steps), add)
    return Block(lambda draft: c2f(draft, (half, half), steps, ConvSpec(width)), module)


def sppf_block(width: int) -> Block:
    """Poolings behind half of the channels."""
    module = names.sppf(width, added=False)
    return Block(lambda draft: sppf(draft, ConvSpec(width // 2), ConvSpec(width)), module)


def _parts(size: Size) -> Pyramid:
    def stage(level: int, channels: int, blocks: int) -> Stage:
        said = f"Stage at stride {2**level}, bottlenecks: {size.blocks(blocks)}"
        made = c2f_block(size, channels, blocks, add=True)
        return Stage(said, conv_block(size, channels), made)

    def neck(channels: int) -> Block:
        return c2f_block(size, channels, 3, add=False)

    return Pyramid(
        stem=conv_block(size, 64),
        stages=(stage(2, 128, 3), stage(3, 256, 6), stage(4, 512, 6), stage(5, 1024, 3)),
        end=(("SPPF", sppf_block(size.channels(1024))),),
        up=(neck(512), neck(256)),
        down=((conv_block(size, 256), neck(512)), (conv_block(size, 512), neck(1024))),
        widths=(size.channels(256), size.channels(512), size.channels(1024)),
    )
