"""The blocks of YOLOv9: ELAN and poolings by averages."""

from __future__ import annotations

import torch

from ..zoo import ultralytics_blocks as sections
from ..zoo.ultralytics_blocks import BottleneckSpec
from .blocks import halves_of, pool_size
from .convs import fixed_conv, read_conv
from .rep_conv import rep_conv
from .stubs import Node
from .writer import Emitter, Writer


def _rep_csp(writer: Writer, node: Node) -> int:
    inner = []
    for m in node.child("m").children():
        if m.kind != "RepBottleneck":
            raise m.error("a block inside a block that is not translated")
        convs = (rep_conv(m.child("cv1")), read_conv(m.child("cv2")))
        inner.append(BottleneckSpec(convs, bool(m.value("add", False))))
    through, around, last = (read_conv(node.child(f"cv{k}")) for k in (1, 2, 3))
    return sections.c3(writer, through, inner, around, last)


def _stage(writer: Writer, node: Node) -> int:
    """What ELAN has in its rows: convolutions and RepCSP, one after the other."""
    if node.kind == "Conv":
        return writer.put(read_conv(node))
    if node.kind == "RepCSP":
        return _rep_csp(writer, node)
    if node.kind != "Sequential":
        raise node.error("a block inside a block that is not translated")
    for child in node.children():
        _stage(writer, child)
    return writer.last


def _elan(writer: Writer, node: Node) -> int:
    """As C2f: two halves, two stages one after the other from the second, all side by side."""
    source = writer.last
    first, second = halves_of(node, read_conv(node.child("cv1")))
    parts = [writer.put(first)]
    writer.route(source)
    parts.append(writer.put(second))
    parts += [_stage(writer, node.child(name)) for name in ("cv2", "cv3")]
    writer.route(*parts)
    return writer.put(read_conv(node.child("cv4")))


def _spp_elan(writer: Writer, node: Node) -> int:
    sizes = {pool_size(node.child(name)) for name in ("cv2", "cv3", "cv4")}
    if len(sizes) != 1:
        raise node.error("only poolings of one size are translated")
    first, last = (read_conv(node.child(name)) for name in ("cv1", "cv5"))
    return sections.sppf(writer, first, last, sizes.pop())


def _average(writer: Writer, channels: int) -> int:
    """Means of 2x2 cells at stride 1, without padding.

    As a convolution of each channel by itself: [local_avgpool] is one section, but OpenCV and
    other forks of Darknet do not know it.
    """
    return writer.put(fixed_conv(torch.full((channels, 1, 2, 2), 0.25), groups=channels))


def _a_conv(writer: Writer, node: Node) -> int:
    conv = read_conv(node.child("cv1"))
    _average(writer, conv.tensors["conv.weight"].shape[1])
    return writer.put(conv)


def _a_down(writer: Writer, node: Node) -> int:
    """Half of the channels through a convolution, the others through a pooling and another one."""
    strided, pooled = (read_conv(node.child(name)) for name in ("cv1", "cv2"))
    widths = [conv.tensors["conv.weight"].shape[1] for conv in (strided, pooled)]
    if widths[0] != widths[1]:
        raise node.error(f"halves of {widths[0]} and {widths[1]} channels are not translated")
    source = _average(writer, sum(widths))
    writer.half(source, 0)
    first = writer.put(strided)
    writer.half(source, 1)
    writer.maxpool(3, 2)
    second = writer.put(pooled)
    return writer.route(first, second)


V9_EMITTERS: dict[str, Emitter] = {
    "AConv": _a_conv,
    "ADown": _a_down,
    "ELAN1": _elan,
    "RepCSP": _rep_csp,
    "RepNCSPELAN4": _elan,
    "SPPELAN": _spp_elan,
}
