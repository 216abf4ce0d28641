"""How the boxes of an ONNX file lie: ours, or as decoders of other families of YOLO want them.

Each is made of our rows by nodes at the graph's end, and turned back into rows here, so that what
was written can be compared with PyTorch, scored and looked at like any other file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ...command.optional import load
from .export import INPUT_NAME, OUTPUT_NAME
from .layout_names import Layout

METADATA_KEY = "layout"
# The names that each family's programs ask for, and what they find there.
_NAMES: dict[Layout, tuple[str, str]] = {
    "rows": (INPUT_NAME, OUTPUT_NAME),
    "yolov5": ("images", "output0"),
    "yolov8": ("images", "output0"),
    "deepstream": ("input", "output"),
}
_TOLD: dict[Layout, str] = {
    "yolov5": "(B, N, 5 + classes): xywh in input pixels, objectness, class probabilities",
    "yolov8": "(B, 4 + classes, N): xywh in input pixels, a score per class",
    "deepstream": "(B, N, 6): corners of the box in input pixels, best score, its class",
}


def append_layout(path: Path, layout: Layout) -> None:
    """Change a file's output from our rows to another layout, in place."""
    if layout == "rows":
        return
    onnx = load("onnx")
    model = onnx.load(str(path))
    batch, count, columns = _sizes(model.graph.output[0])
    given, made = _NAMES[layout]
    _rename_input(model.graph, given)
    if layout == "yolov5":
        _node(onnx, model, "Identity", OUTPUT_NAME, made)
        shape = [batch, count, columns]
    else:
        _slices(onnx, model)
        _node(onnx, model, "Mul", "layout/objectness layout/classes", "layout/scores")
        _yolov8(onnx, model, made) if layout == "yolov8" else _deepstream(onnx, model, made)
        shape = [batch, columns - 1, count] if layout == "yolov8" else [batch, count, 6]
    del model.graph.output[:]
    info = onnx.helper.make_tensor_value_info(made, onnx.TensorProto.FLOAT, shape)
    model.graph.output.append(info)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:]
    told = {METADATA_KEY: layout, "output": _TOLD[layout]}
    onnx.helper.set_model_props(model, {**kept, **told})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def fits(layout: str, found: Tensor, classes: int) -> bool:
    """Whether an output can be of the layout that its file, maybe a stranger's, states."""
    if found.ndim != 3 or layout not in _NAMES:
        return False
    if layout == "deepstream":
        labels = found[..., 5:]
        return found.shape[2] == 6 and bool(((labels >= 0) & (labels < classes)).all())
    return found.shape[1] > 4 if layout == "yolov8" else found.shape[2] > 5


def rows_of(layout: str, found: Tensor, classes: int) -> Tensor:
    """Our rows (B, N, 5 + classes) of a layout's output; objectness 1 where it is in the scores."""
    if layout == "yolov8":
        found = found.transpose(1, 2)
        xywh, scores = found[..., :4], found[..., 4:]
        return torch.cat((xywh, torch.ones_like(xywh[..., :1]), scores), 2)
    if layout == "deepstream":
        low, high, score = found[..., :2], found[..., 2:4], found[..., 4:5]
        xywh = torch.cat(((low + high) / 2, high - low), 2)
        label = one_hot(found[..., 5].long(), classes).to(found.dtype)
        return torch.cat((xywh, torch.ones_like(score), score * label), 2)
    return found


def as_in(layout: str, rows: Tensor) -> Tensor:
    """What is left of our own rows in a layout, for a comparison: scores, or the best one alone."""
    if layout in ("rows", "yolov5"):
        return rows
    scores = rows[..., 4:5] * rows[..., 5:]
    if layout == "deepstream":
        best = scores.max(-1, keepdim=True)
        scores = torch.zeros_like(scores).scatter(-1, best.indices, best.values)
    return torch.cat((rows[..., :4], torch.ones_like(rows[..., :1]), scores), 2)


def _sizes(output: Any) -> list[Any]:
    """Each a number, or the name of what may be any."""
    return [size.dim_value or size.dim_param for size in output.type.tensor_type.shape.dim]


def _rename_input(graph: Any, name: str) -> None:
    before = graph.input[0].name
    graph.input[0].name = name
    for node in graph.node:
        for place, one in enumerate(node.input):
            if one == before:
                node.input[place] = name


def _node(onnx: Any, model: Any, kind: str, inputs: str, output: str, **attributes: Any) -> None:
    made = onnx.helper.make_node(kind, inputs.split(), [output], name=output, **attributes)
    model.graph.node.append(made)


def _constant(onnx: Any, model: Any, name: str, value: Any) -> None:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))


def _slices(onnx: Any, model: Any) -> None:
    """layout/centre, layout/size, layout/objectness, layout/classes of our rows."""
    end = np.iinfo(np.int64).max
    _constant(onnx, model, "layout/axis", [2])
    for name, first, last in (
        ("centre", 0, 2), ("size", 2, 4), ("objectness", 4, 5), ("classes", 5, end)
    ):  # fmt: skip
        _constant(onnx, model, f"layout/{name}/first", [first])
        _constant(onnx, model, f"layout/{name}/last", [last])
        inputs = f"{OUTPUT_NAME} layout/{name}/first layout/{name}/last layout/axis"
        _node(onnx, model, "Slice", inputs, f"layout/{name}")


def _yolov8(onnx: Any, model: Any, made: str) -> None:
    parts = "layout/centre layout/size layout/scores"
    _node(onnx, model, "Concat", parts, "layout/rows", axis=2)
    _node(onnx, model, "Transpose", "layout/rows", made, perm=[0, 2, 1])


def _deepstream(onnx: Any, model: Any, made: str) -> None:
    _constant(onnx, model, "layout/two", np.float32(2))
    _node(onnx, model, "Div", "layout/size layout/two", "layout/half")
    _node(onnx, model, "Sub", "layout/centre layout/half", "layout/low")
    _node(onnx, model, "Add", "layout/centre layout/half", "layout/high")
    _node(onnx, model, "ReduceMax", "layout/scores layout/axis", "layout/best", keepdims=1)
    _node(onnx, model, "ArgMax", "layout/scores", "layout/label", axis=2, keepdims=1)
    _node(onnx, model, "Cast", "layout/label", "layout/number", to=onnx.TensorProto.FLOAT)
    parts = "layout/low layout/high layout/best layout/number"
    _node(onnx, model, "Concat", parts, made, axis=2)
