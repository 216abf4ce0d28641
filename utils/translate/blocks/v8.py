"""The blocks of YOLOv5 and YOLOv8: what each holds, as sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...cfg.module_note import HALVES
from ...zoo import ultralytics_blocks as sections
from ..reading.stubs import Node
from .convs import TensorConv, activation_of, normalized_together, read_conv, split_conv
from .writer import Emitter, Joiner, Writer

_MOST_POOLS = 16


def conv(writer: Writer, node: Node) -> int:
    """Conv and its like, and a bare Conv2d."""
    return writer.put(read_conv(node))


def in_a_row(writer: Writer, node: Node) -> int:
    """A Sequential: its blocks, one after the other."""
    for child in node.children():
        writer.block(child)
    return writer.last


def _bottleneck(writer: Writer, node: Node) -> int:
    source = writer.last
    for name in ("cv1", "cv2"):
        writer.block(node.child(name))
    return writer.shortcut(source) if node.value("add", False) else writer.last


def c2f(writer: Writer, node: Node) -> int:
    """`cv1` is split, unless a pruner has done so already."""
    first, last = read_conv(node.child("cv1")), read_conv(node.child("cv2"))
    halves = (read_conv(node.child("cv0")), first) if node.has("cv0") else halves_of(node, first)
    return sections.c2f(writer, halves, writer.steps(node.child("m")), last)


def halves_of(node: Node, conv: TensorConv) -> tuple[TensorConv, TensorConv]:
    """A block's first convolution as two, cut in the middle, or where a pruner has noted."""
    middle = -(-conv.filters // 2)
    counts = node.value("cv1_split_sections", (middle, conv.filters - middle))
    try:
        first, second = split_conv(conv, counts)
    except (TypeError, ValueError):
        raise node.error(f"cannot split {conv.filters} channels as {str(counts)[:40]}") from None
    return replace(first, part=HALVES[0]), replace(second, part=HALVES[1])


def c3(writer: Writer, node: Node) -> int:
    """Blocks on one way, one convolution on the other; whatever the blocks are."""
    through, around, last = (read_conv(node.child(f"cv{k}")) for k in (1, 2, 3))
    return sections.c3(writer, through, writer.steps(node.child("m")), around, last)


def _bottleneck_csp(writer: Writer, node: Node) -> int:
    """C3's forerunner: the two ways meet before one normalisation, of which each takes its part."""
    ends = [read_conv(node.child(name)) for name in ("cv3", "cv2")]
    last_inside, around = normalized_together(ends, node.child("bn"), activation_of(node))
    inner = [*writer.steps(node.child("m")), lambda draft: draft.put(last_inside)]
    through, last = read_conv(node.child("cv1")), read_conv(node.child("cv4"))
    return sections.c3(writer, through, inner, around, last)


def _sppf(writer: Writer, node: Node) -> int:
    """Newer ones have the number of poolings in `n` and add their input on request."""
    source, size = writer.last, pool_size(node.child("m"))
    pools = node.integer("n", sections.SPPF_POOLS)
    if not 1 <= pools <= _MOST_POOLS:
        raise node.error(f"'n' must lie between 1 and {_MOST_POOLS}, not {pools}")
    convs = (read_conv(node.child("cv1")), read_conv(node.child("cv2")))
    end = sections.sppf(writer, *convs, size, pools)
    return writer.shortcut(source) if node.value("add", False) else end


def _spp(writer: Writer, node: Node) -> int:
    """Of YOLOv5: poolings of several sizes side by side."""
    writer.put(read_conv(node.child("cv1")))
    parallel_pools(writer, node.child("m"))
    return writer.put(read_conv(node.child("cv2")))


def parallel_pools(writer: Writer, pools: Node) -> int:
    """What stands before, and its poolings, stacked. Raises UserError as `pool_size`."""
    source = writer.last
    parts = [source]
    for pool in pools.children():
        writer.read(source)
        parts.append(writer.maxpool(pool_size(pool), 1))
    return writer.route(*parts)


def pool_size(pool: Node) -> int:
    """The window of a max pooling that keeps the map's size. Raises UserError for any other."""
    size = pool.integer("kernel_size")
    if pool.integer("stride", 1) != 1 or pool.integer("padding") != size // 2:
        raise pool.error("only poolings that keep the size are translated")
    return size


def _upsample(writer: Writer, node: Node) -> int:
    if node.number("scale_factor", 0) != 2 or node.value("mode") != "nearest":
        raise node.error("only nearest neighbours at twice the size are translated")
    return writer.upsample()


def _concat(writer: Writer, node: Node, sources: Sequence[int]) -> int:
    if node.integer("d", 1) != 1:
        raise node.error("only channels can be joined")
    return writer.route(*sources)


EMITTERS: dict[str, Emitter] = {
    "Bottleneck": _bottleneck,
    "BottleneckCSP": _bottleneck_csp,
    "BottleneckPruned": _bottleneck,
    "C2f": c2f,
    "C2fPruned": c2f,
    "C2f_v2": c2f,
    "C3": c3,
    "Conv": conv,
    "Conv2d": conv,
    "DWConv": conv,
    "RepBottleneck": _bottleneck,
    "SPP": _spp,
    "SPPF": _sppf,
    "SPPFPruned": _sppf,
    "Sequential": in_a_row,
    "Upsample": _upsample,
}
JOINERS: dict[str, Joiner] = {"Concat": _concat}
