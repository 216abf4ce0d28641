"""The heads: YOLOv8's, without anchors, and those of YOLOv5 and YOLOv7 with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...zoo import ultralytics_blocks as sections
from ...zoo.draft import Value
from ..reading.stubs import Node
from .convs import TensorConv, read_conv
from .writer import Answer, Joiner, Writer

_ONE2ONE = "one2one_"
_SETS = {"one2many": ("",), "one2one": (_ONE2ONE,), "both": ("", _ONE2ONE)}
_CONVS = ("Conv", "DWConv", "Conv2d")
# x = 2 s - .5 and w = (2 s)^2 anchor, of logistic outputs s.
_V5_HEAD: dict[str, Value] = {"new_coords": 1, "scale_x_y": 2}


def _detect(writer: Writer, node: Node, sources: Sequence[int]) -> int:
    """YOLOv8's head, or YOLOv5's and YOLOv7's with anchors: told apart by what it holds."""
    if node.has("na") and node.has("m"):
        return _anchor_detect(writer, node, sources)
    if not (node.has("reg_max") and any(node.has(key) for key in ("cv2", "one2one_cv2"))):
        raise node.error("is no head of YOLOv8: it has no cv2, cv3 and reg_max")
    reg_max = node.integer("reg_max")
    if reg_max < 1:
        raise node.error(f"'reg_max' must be at least 1, not {reg_max}")
    strides = _strides(node, len(sources))
    prefixes = _prefixes(node, writer.answer)
    for prefix in prefixes:
        keys = (f"{prefix}cv2", f"{prefix}cv3")
        boxes, classes = ([_branch(m) for m in node.child(key).children()] for key in keys)
        if not len(boxes) == len(classes) == len(sources):
            raise node.error(
                f"has {len(boxes)} and {len(classes)} branches for {len(sources)} levels"
            )
        if any(branch[-1].filters != 4 * reg_max for branch in boxes):
            raise node.error(f"its box branches must end in {4 * reg_max} channels")
        one2one = prefix == _ONE2ONE
        answers = prefix == prefixes[-1]
        sections.detect(writer, sources, boxes, classes, strides, reg_max, one2one, answers)
    writer.names = tuple(f"class{k}" for k in range(classes[0][-1].filters))
    return writer.last


def _prefixes(node: Node, answer: Answer) -> tuple[str, ...]:
    """Of the branches to write, those that answer last.

    A fused head has lost those that its model did not answer with.
    """
    has = {prefix: node.has(f"{prefix}cv2") for prefix in ("", _ONE2ONE)}
    wanted = _SETS.get(answer)
    if wanted is None:  # the library's own: its call asks for one2many and NMS
        return ("",) if has[""] else (_ONE2ONE,)
    for prefix in wanted:
        if not has[prefix]:
            lacking, other = ("one2one", "one2many") if prefix else ("one2many", "one2one")
            raise node.error(f"has no {lacking} branches, only {other} ones (--head {answer})")
    return wanted


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


HEADS: dict[str, Joiner] = {
    "Detect": _detect,
    "DetectPruned": _detect,
    "IDetect": _detect,
    "v10Detect": _detect,
}
