"""The best boxes as the last part of an ONNX graph, for heads that need no NMS (one2one)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...command.optional import load
from ...detection.as_the_cfg_says import chosen_nms
from ...detection.boxes import xywh_to_xyxy
from ...network.darknet import Network
from .export import OUTPUT_NAME
from .nms import DETECTIONS

MOST = 300
COLUMNS = 6  # x1, y1, x2, y2, score, class
_TOLERANCE = 1e-3


def needs_no_nms(network: Network) -> bool:
    """Whether its heads are trained to answer each object once."""
    return bool(network.heads) and chosen_nms("cfg", network.heads[-1].section).name == "none"


def append_best(path: Path, classes: int, rows: int | None) -> None:
    """Change a file's output from `predictions` to `detections` (B, n, 6), in place.

    A row: corners of the box in input pixels, score, class; best score first. A box counts once
    for each class, as scoring wants it. n is 300, or all there are if fewer. `rows`: of boxes in
    `predictions`; None where that depends on the input's size.
    """
    onnx = load("onnx")
    helper, model = onnx.helper, onnx.load(str(path))
    constants = {
        "best/0": np.array([0]), "best/1": np.array([1]), "best/2": np.array([2]),
        "best/4": np.array([4]), "best/5": np.array([5]), "best/axis": np.array([2]),
        "best/end": np.array([np.iinfo(np.int64).max]), "best/flat": np.array([0, -1]),
        "best/most": np.array([MOST]), "best/classes": np.array([classes], np.float32),
        "best/sides": np.array([1, 1, 4]), "best/half": np.array([0.5], np.float32),
    }  # fmt: skip
    for name, value in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))

    def node(kind: str, inputs: str, *outputs: str, **attributes: object) -> None:
        model.graph.node.append(
            helper.make_node(kind, inputs.split(), list(outputs), name=outputs[0], **attributes)
        )

    for name, start, end in (("objectness", 4, 5), ("probabilities", 5, "end"), ("boxes", 0, 4)):
        node("Slice", f"{OUTPUT_NAME} best/{start} best/{end} best/axis", f"best/{name}")
    node("Mul", "best/objectness best/probabilities", "best/scores")
    node("Reshape", "best/scores best/flat", "best/row")
    node("Shape", "best/row", "best/shape")
    node("Gather", "best/shape best/1", "best/there", axis=0)
    node("Min", "best/there best/most", "best/count")
    node("TopK", "best/row best/count", "best/values", "best/places", axis=1)
    # In floats, and rounded down by itself: OpenCV divides whole numbers as if they were floats.
    node("Cast", "best/places", "best/place", to=onnx.TensorProto.FLOAT)
    node("Add", "best/place best/half", "best/inside")
    node("Div", "best/inside best/classes", "best/share")
    node("Floor", "best/share", "best/box")
    node("Mul", "best/box best/classes", "best/first")
    node("Sub", "best/place best/first", "best/class")
    node("Cast", "best/box", "best/index", to=onnx.TensorProto.INT64)
    node("Unsqueeze", "best/index best/2", "best/where")
    node("Tile", "best/where best/sides", "best/wide")
    node("GatherElements", "best/boxes best/wide", "best/chosen", axis=1)
    node("Slice", "best/chosen best/0 best/2 best/axis", "best/centre")
    node("Slice", "best/chosen best/2 best/4 best/axis", "best/size")
    node("Mul", "best/size best/half", "best/reach")
    node("Sub", "best/centre best/reach", "best/low")
    node("Add", "best/centre best/reach", "best/high")
    node("Unsqueeze", "best/values best/2", "best/score_column")
    node("Unsqueeze", "best/class best/2", "best/class_column")
    node("Concat", "best/low best/high best/score_column best/class_column", DETECTIONS, axis=2)
    count = "found" if rows is None else min(MOST, rows * classes)
    _put_out(onnx, model, count, classes)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _put_out(onnx: Any, model: Any, count: int | str, classes: int) -> None:
    """Make `detections` the file's only output, and say what it holds."""
    batch = model.graph.output[0].type.tensor_type.shape.dim[0]
    shape = [batch.dim_param or batch.dim_value, count, COLUMNS]
    del model.graph.output[:]
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(DETECTIONS, onnx.TensorProto.FLOAT, shape)
    )
    output = "per row: x1 y1 x2 y2 in input pixels, score, class; best first, no NMS is needed"
    kept = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {**kept, "output": output, "classes": str(classes)})


def as_predictions(rows: Tensor, classes: int) -> Tensor:
    """Rows (B, n, 6) as a network gives boxes, (B, n, 5 + classes): each of one class alone."""
    found = rows.new_zeros(*rows.shape[:2], 5 + classes)
    low, high = rows[..., :2], rows[..., 2:4]
    found[..., :4] = torch.cat(((low + high) / 2, high - low), -1)
    found[..., 4] = 1
    found.scatter_(2, 5 + rows[..., 5:6].long(), rows[..., 4:5])
    return found


def contradictions(rows: Tensor, predictions: Tensor) -> int:
    """How many rows (n, 6) of an image are not the best of its predictions (N, 5 + nc).

    Each must be one of the network's boxes with its score, and its score that of its place; of
    equal scores either may stand first.
    """
    scores = predictions[:, 4:5] * predictions[:, 5:]
    best = scores.flatten().topk(len(rows)).values
    wrong = (rows[:, 4] - best).abs() > _TOLERANCE
    label = rows[:, 5].long().clamp(0, scores.shape[1] - 1)
    corners = xywh_to_xyxy(predictions[:, :4])
    same = (rows[:, None, :4] - corners).abs().amax(2) < _TOLERANCE * corners.abs().max()
    known = same & ((rows[:, 4:5] - scores[:, label].T).abs() < _TOLERANCE)
    return int((wrong | ~known.any(1)).sum()) + int((rows[:, 5] != label).sum())


def run_between(path: Path, images: Tensor) -> tuple[Tensor, Tensor]:
    """What such a file gives, (B, n, 6), and the predictions that it took them from."""
    onnx = load("onnx")
    model = onnx.load(str(path))
    between = onnx.helper.make_tensor_value_info(OUTPUT_NAME, onnx.TensorProto.FLOAT, None)
    model.graph.output.append(between)
    providers = ["CPUExecutionProvider"]
    session = load("onnxruntime").InferenceSession(model.SerializeToString(), providers=providers)
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: image[None].numpy()}) for image in images]
    rows, found = zip(*parts, strict=True)
    return torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(found))
