"""The blocks of YOLOv5 and YOLOv8: what each holds, as sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..zoo import ultralytics_blocks as sections
from ..zoo.draft import Value
from ..zoo.ultralytics_blocks import BottleneckSpec
from .convs import TensorConv, activation_of, normalized_together, read_conv, split_conv
from .stubs import Node
from .writer import Emitter, Joiner, Writer

_CONVS = ("Conv", "DWConv", "Conv2d")
# x = 2 s - .5 and w = (2 s)^2 anchor, of logistic outputs s.
_V5_HEAD: dict[str, Value] = {"new_coords": 1, "scale_x_y": 2}


def _conv(writer: Writer, node: Node) -> int:
    return writer.put(read_conv(node))


def _bottleneck_spec(node: Node) -> BottleneckSpec:
    if node.kind not in ("Bottleneck", "BottleneckPruned"):
        raise node.error("a block inside a block that is not translated")
    convs = (read_conv(node.child("cv1")), read_conv(node.child("cv2")))
    return BottleneckSpec(convs, bool(node.value("add", False)))


def _bottleneck(writer: Writer, node: Node) -> int:
    return sections.bottleneck(writer, _bottleneck_spec(node))


def _c2f(writer: Writer, node: Node) -> int:
    """`cv1` is split, unless a pruner has done so already."""
    inner = [_bottleneck_spec(m) for m in node.child("m").children()]
    first, last = read_conv(node.child("cv1")), read_conv(node.child("cv2"))
    if node.has("cv0"):
        halves = read_conv(node.child("cv0")), first
    else:
        halves = halves_of(node, first)
    return sections.c2f(writer, halves, inner, last)


def halves_of(node: Node, conv: TensorConv) -> tuple[TensorConv, TensorConv]:
    """A block's first convolution as two, cut in the middle, or where a pruner has noted."""
    middle = -(-conv.filters // 2)
    counts = node.value("cv1_split_sections", (middle, conv.filters - middle))
    try:
        first, second = split_conv(conv, counts)
    except (TypeError, ValueError):
        raise node.error(f"cannot split {conv.filters} channels as {str(counts)[:40]}") from None
    return first, second


def _c3(writer: Writer, node: Node) -> int:
    inner = [_bottleneck_spec(m) for m in node.child("m").children()]
    through, around, last = (read_conv(node.child(f"cv{k}")) for k in (1, 2, 3))
    return sections.c3(writer, through, inner, around, last)


def _bottleneck_csp(writer: Writer, node: Node) -> int:
    """C3's forerunner: the two ways meet before one normalisation, of which each takes its part."""
    inner = [_bottleneck_spec(m) for m in node.child("m").children()]
    ends = [read_conv(node.child(name)) for name in ("cv3", "cv2")]
    last_inside, around = normalized_together(ends, node.child("bn"), activation_of(node))
    inner.append(BottleneckSpec((last_inside,), add=False))
    through, last = read_conv(node.child("cv1")), read_conv(node.child("cv4"))
    return sections.c3(writer, through, inner, around, last)


def _sppf(writer: Writer, node: Node) -> int:
    """Newer ones have the number of poolings in `n` and add their input on request."""
    pool = node.child("m")
    size = pool_size(pool)
    if node.integer("n", sections.SPPF_POOLS) != sections.SPPF_POOLS or node.value("add", False):
        raise node.error("only the kind with three poolings and no sum is translated")
    return sections.sppf(writer, read_conv(node.child("cv1")), read_conv(node.child("cv2")), size)


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


def _detect(writer: Writer, node: Node, sources: Sequence[int]) -> int:
    """YOLOv8's head, or YOLOv5's and YOLOv7's with anchors: told apart by what it holds."""
    if node.has("na") and node.has("m"):
        return _anchor_detect(writer, node, sources)
    if node.has("one2one_cv2"):
        raise node.error("heads of the kind that needs no NMS are not translated")
    if not (node.has("cv2") and node.has("cv3") and node.has("reg_max")):
        raise node.error("is no head of YOLOv8: it has no cv2, cv3 and reg_max")
    reg_max = node.integer("reg_max")
    if reg_max < 2:
        raise node.error("boxes without a distribution (reg_max 1) are not translated")
    boxes, classes = ([_branch(m) for m in node.child(key).children()] for key in ("cv2", "cv3"))
    strides = _strides(node, len(sources))
    if not len(boxes) == len(classes) == len(sources):
        raise node.error(f"has {len(boxes)} and {len(classes)} branches for {len(sources)} levels")
    if any(branch[-1].filters != 4 * reg_max for branch in boxes):
        raise node.error(f"its box branches must end in {4 * reg_max} channels")
    sections.detect(writer, sources, boxes, classes, strides, reg_max)
    writer.names = tuple(f"class{k}" for k in range(classes[0][-1].filters))
    return writer.last


def _branch(node: Node) -> list[TensorConv]:
    """The convolutions of nested Sequentials, in order."""
    if node.kind in _CONVS:
        return [read_conv(node)]
    if node.kind != "Sequential":
        raise node.error("a block inside a head that is not translated")
    return [conv for child in node.children() for conv in _branch(child)]


def _strides(node: Node, count: int) -> list[int]:
    found = [int(value) for value in node.tensor("stride").flatten().tolist()]
    if len(found) != count or min(found) < 1:
        raise node.error(f"has strides {found} for {count} levels")
    return found


def _anchor_detect(writer: Writer, node: Node, sources: Sequence[int]) -> int:
    """YOLOv5's and YOLOv7's, as [yolo] with new_coords."""
    anchors = node.tensor("anchors") * node.tensor("stride").view(-1, 1, 1)  # kept in cells
    per_level = anchors.shape[1]
    flat = anchors.reshape(-1, 2).tolist()
    pairs = [(float(w), float(h)) for w, h in flat]
    convs = [read_conv(m) for m in node.child("m").children()]
    if node.has("ia"):
        convs = _with_implicit(node, convs)
    nc = convs[0].filters // per_level - 5
    if len(convs) != len(sources) or nc < 1 or convs[0].filters != per_level * (5 + nc):
        raise node.error("its channels are not those of boxes, objectness and classes")
    for level, (source, conv) in enumerate(zip(sources, convs, strict=True)):
        writer.read(source)
        writer.put(replace(conv, activation="logistic"))
        mask = range(level * per_level, (level + 1) * per_level)
        writer.yolo_section(mask, pairs, _V5_HEAD, classes=nc)
    writer.names = tuple(f"class{k}" for k in range(nc))
    return writer.last


def _with_implicit(node: Node, convs: Sequence[TensorConv]) -> list[TensorConv]:
    """YOLOv7's convolutions with what it learnt to add before and to multiply with after them."""
    found = []
    befores, afters = (list(node.child(name).children()) for name in ("ia", "im"))
    if not len(befores) == len(afters) == len(convs):
        raise node.error(f"has {len(befores)} and {len(afters)} tensors for {len(convs)} levels")
    for conv, before, after in zip(convs, befores, afters, strict=True):
        kernel, bias = (conv.tensors[name].double() for name in ("conv.weight", "conv.bias"))
        added = (kernel * before.tensor("implicit").double()).sum((1, 2, 3))
        factor = after.tensor("implicit").double().flatten()
        tensors = {"conv.weight": kernel * factor.view(-1, 1, 1, 1), "conv.bias": bias + added}
        tensors["conv.bias"] *= factor
        found.append(replace(conv, tensors={name: t.float() for name, t in tensors.items()}))
    return found


EMITTERS: dict[str, Emitter] = {
    "Bottleneck": _bottleneck,
    "BottleneckCSP": _bottleneck_csp,
    "C2f": _c2f,
    "C2fPruned": _c2f,
    "C2f_v2": _c2f,
    "C3": _c3,
    "Conv": _conv,
    "DWConv": _conv,
    "SPP": _spp,
    "SPPF": _sppf,
    "SPPFPruned": _sppf,
    "Upsample": _upsample,
}
JOINERS: dict[str, Joiner] = {
    "Concat": _concat,
    "Detect": _detect,
    "DetectPruned": _detect,
    "IDetect": _detect,
}
