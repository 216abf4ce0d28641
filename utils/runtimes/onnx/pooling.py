"""Padding by minus infinity before a max-pooling, as the pooling's own padding.

Both mean the same: cells outside do not count. But an infinite number in the graph leaves int8 no
scale, ncnn cannot read it, and the padded copy costs time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...command.optional import load


def merge_padding(model: Any) -> int:
    """Change an `onnx.ModelProto` in place; returns the number of paddings that went.

    Those whose widths depend on the input's size, or reach the pooling's, stay.
    """
    onnx = load("onnx")
    graph = model.graph
    constants = {item.name: item for item in graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    gone = []
    for pad in [node for node in graph.node if node.op_type == "Pad"]:
        widths = _widths(onnx, pad, constants)
        users = readers.get(pad.output[0], [])
        if widths is None or not users or any(user.op_type != "MaxPool" for user in users):
            continue
        if all(_takes(onnx, user, widths) for user in users):
            for user in users:
                _set_pads(onnx, user, widths)
                user.input[0] = pad.input[0]
            gone.append(pad)
    for pad in gone:
        graph.node.remove(pad)
    used = {name for node in graph.node for name in node.input}
    for item in [item for item in graph.initializer if item.name not in used]:
        graph.initializer.remove(item)
    return len(gone)


def _widths(onnx: Any, pad: Any, constants: dict[str, Any]) -> list[int] | None:
    """top, left, bottom, right of a padding by minus infinity in height and width alone."""
    if len(pad.input) != 3 or not all(name in constants for name in pad.input[1:]):
        return None
    widths, value = (onnx.numpy_helper.to_array(constants[name]) for name in pad.input[1:])
    if widths.size != 8 or not np.isneginf(value).all() or widths[[0, 1, 4, 5]].any():
        return None
    return [int(widths[k]) for k in (2, 3, 6, 7)]


def _takes(onnx: Any, pool: Any, widths: list[int]) -> bool:
    """Whether a pooling can have this padding: less than its size, and none so far."""
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in pool.attribute}
    size = list(attributes["kernel_shape"])
    own = any(attributes.get("pads", [])) or attributes.get("auto_pad", b"NOTSET") != b"NOTSET"
    return not own and all(w < s for w, s in zip(widths, size * 2, strict=True))


def _set_pads(onnx: Any, pool: Any, widths: list[int]) -> None:
    kept = [item for item in pool.attribute if item.name != "pads"]
    del pool.attribute[:]
    pool.attribute.extend([*kept, onnx.helper.make_attribute("pads", widths)])
