"""Poolings of the small YOLOv3, and what YOLOv8's variants have: halves and ghosts."""

from __future__ import annotations

import torch

from ..reading.stubs import Node
from .convs import fixed_conv, read_conv
from .v8 import c3, halves_of
from .writer import Emitter, Writer

_MOST_PADDING = 16


def _same(writer: Writer, _: Node) -> int:
    """Identity: no section."""
    return writer.last


def _max_pool(writer: Writer, node: Node) -> int:
    """torch counts its padding on each side, Darknet on both; both take it for minus infinity."""
    if node.integer("dilation", 1) != 1 or node.value("ceil_mode", False):
        raise node.error("only poolings without dilation that round down are translated")
    size, padding = node.integer("kernel_size"), 2 * node.integer("padding", 0)
    own = None if padding == size - 1 else padding
    return writer.maxpool(size, node.integer("stride", size), own)


def _zero_pad(writer: Writer, node: Node) -> int:
    """Zeros around the map, as a convolution of each channel by itself that moves it.

    The pooling of YOLOv3-tiny reads them, where Darknet's own would skip them: swish is negative.
    """
    given = node.value("padding")
    four = isinstance(given, tuple | list) and len(given) == 4
    if not four or not all(type(k) is int and k >= 0 for k in given):
        raise node.error(f"'padding' must be four whole numbers, not {str(given)[:40]}")
    left, right, top, bottom = given
    if max(given) > _MOST_PADDING:
        raise node.error(f"pads by {max(given)} cells; at most {_MOST_PADDING} are translated")
    reach, size = max(left, right), abs(left - right) + 1
    if (max(top, bottom), abs(top - bottom) + 1) != (reach, size):
        raise node.error(f"padding by {tuple(given)} has no square kernel")
    channels = writer.channels()
    kernel = torch.zeros(channels, 1, size, size)
    kernel[:, :, reach - top, reach - left] = 1
    conv = fixed_conv(kernel, groups=channels, padding=reach, place=node.place)
    return writer.put(conv)


def _c2(writer: Writer, node: Node) -> int:
    """The first half goes through the blocks (in C2f the second does), the other one around."""
    source = writer.last
    first, second = halves_of(node, read_conv(node.child("cv1")))
    writer.put(first)
    through = writer.block(node.child("m"))
    writer.read(source)
    around = writer.put(second)
    writer.route(through, around)
    return writer.put(read_conv(node.child("cv2")))


def _ghost_conv(writer: Writer, node: Node) -> int:
    """Half of the channels are cheap ones, made from each of the others."""
    first = writer.put(read_conv(node.child("cv1")))
    return writer.route(first, writer.put(read_conv(node.child("cv2"))))


def _ghost_bottleneck(writer: Writer, node: Node) -> int:
    source = writer.last
    through = writer.block(node.child("conv"))
    around = node.child("shortcut")
    if around.kind == "Identity":
        return writer.shortcut(source)
    writer.read(source)
    writer.block(around)
    return writer.shortcut(through)


EMITTERS: dict[str, Emitter] = {
    "C2": _c2,
    "C3Ghost": c3,
    "GhostBottleneck": _ghost_bottleneck,
    "GhostConv": _ghost_conv,
    "Identity": _same,
    "MaxPool2d": _max_pool,
    "ZeroPad2d": _zero_pad,
}
