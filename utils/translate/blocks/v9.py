"""The blocks of YOLOv9: ELAN and poolings by averages."""

from __future__ import annotations

import torch

from ...zoo import ultralytics_blocks as sections
from ..reading.stubs import Node
from .convs import fixed_conv, read_conv
from .v8 import c3, halves_of, pool_size
from .writer import Emitter, Writer


def _elan(writer: Writer, node: Node) -> int:
    """As C2f: two halves, two stages one after the other from the second, all side by side."""
    source = writer.last
    first, second = halves_of(node, read_conv(node.child("cv1")))
    parts = [writer.put(first)]
    writer.route(source)
    parts.append(writer.put(second))
    parts += [writer.block(node.child(name)) for name in ("cv2", "cv3")]
    writer.route(*parts)
    return writer.put(read_conv(node.child("cv4")))


def _spp_elan(writer: Writer, node: Node) -> int:
    sizes = {pool_size(node.child(name)) for name in ("cv2", "cv3", "cv4")}
    if len(sizes) != 1:
        raise node.error("only poolings of one size are translated")
    first, last = (read_conv(node.child(name)) for name in ("cv1", "cv5"))
    return sections.sppf(writer, first, last, sizes.pop())


def _average(writer: Writer, node: Node, channels: int) -> int:
    """Means of 2x2 cells at stride 1, without padding.

    As a convolution of each channel by itself: [local_avgpool] is one section, but OpenCV and
    other forks of Darknet do not know it.
    """
    means = torch.full((channels, 1, 2, 2), 0.25)
    return writer.put(fixed_conv(means, groups=channels, place=node.place))


def _a_conv(writer: Writer, node: Node) -> int:
    conv = read_conv(node.child("cv1"))
    _average(writer, node, conv.tensors["conv.weight"].shape[1])
    return writer.put(conv)


def _a_down(writer: Writer, node: Node) -> int:
    """Half of the channels through a convolution, the others through a pooling and another one."""
    strided, pooled = (read_conv(node.child(name)) for name in ("cv1", "cv2"))
    widths = [conv.tensors["conv.weight"].shape[1] for conv in (strided, pooled)]
    if widths[0] != widths[1]:
        raise node.error(f"halves of {widths[0]} and {widths[1]} channels are not translated")
    source = _average(writer, node, sum(widths))
    writer.half(source, 0)
    first = writer.put(strided)
    writer.half(source, 1)
    writer.maxpool(3, 2)
    second = writer.put(pooled)
    return writer.route(first, second)


EMITTERS: dict[str, Emitter] = {
    "AConv": _a_conv,
    "ADown": _a_down,
    "ELAN1": _elan,
    "RepCSP": c3,
    "RepNCSPELAN4": _elan,
    "SPPELAN": _spp_elan,
}
