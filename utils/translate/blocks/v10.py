"""YOLOv10: blocks of depthwise convolutions."""

from __future__ import annotations

from ..reading.stubs import Node
from .rep_conv import rep_vgg_dw
from .v8 import c2f
from .writer import Emitter, Writer


def _sc_down(writer: Writer, node: Node) -> int:
    """Channels first, then the size."""
    for name in ("cv1", "cv2"):
        writer.block(node.child(name))
    return writer.last


def _cib(writer: Writer, node: Node) -> int:
    source = writer.last
    end = writer.block(node.child("cv1"))
    return writer.shortcut(source) if node.value("add", False) else end


def _rep_vgg_dw(writer: Writer, node: Node) -> int:
    return writer.put(rep_vgg_dw(node))


EMITTERS: dict[str, Emitter] = {
    "C2fCIB": c2f,
    "CIB": _cib,
    "RepVGGDW": _rep_vgg_dw,
    "SCDown": _sc_down,
}
