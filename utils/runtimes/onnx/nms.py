"""Non-maximum suppression as the last part of an ONNX graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...command.optional import load
from .export import OUTPUT_NAME

DETECTIONS = "detections"


def append_nms(path: Path, conf_thres: float, iou_thres: float, max_per_class: int) -> None:
    """Change a file's output from `predictions` to `detections` (n, 7), in place.

    A row: number of the image, box as xywh in input pixels, score, class. The suppression is
    ONNX's: class by class, by IoU alone, best score first.
    """
    onnx = load("onnx")
    helper, model = onnx.helper, onnx.load(str(path))
    constants = {
        "nms/0": np.array([0]), "nms/4": np.array([4]), "nms/5": np.array([5]),
        "nms/end": np.array([np.iinfo(np.int64).max]), "nms/axis": np.array([2]),
        "nms/image_box": np.array([0, 2]), "nms/image": np.array([0]), "nms/class": np.array([1]),
        "nms/last": np.array([1]), "nms/most": np.array([max_per_class]),
        "nms/iou": np.array([iou_thres], np.float32),
        "nms/conf": np.array([conf_thres], np.float32),
    }  # fmt: skip
    for name, value in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))

    def node(kind: str, inputs: str, output: str, **attributes: object) -> None:
        model.graph.node.append(
            helper.make_node(kind, inputs.split(), [output], name=output, **attributes)
        )

    node("Slice", f"{OUTPUT_NAME} nms/0 nms/4 nms/axis", "nms/boxes")
    node("Slice", f"{OUTPUT_NAME} nms/4 nms/5 nms/axis", "nms/objectness")
    node("Slice", f"{OUTPUT_NAME} nms/5 nms/end nms/axis", "nms/classes")
    node("Mul", "nms/objectness nms/classes", "nms/scores")
    node("Transpose", "nms/scores", "nms/by_class", perm=[0, 2, 1])
    node("NonMaxSuppression", "nms/boxes nms/by_class nms/most nms/iou nms/conf", "nms/kept",
         center_point_box=1)  # fmt: skip
    # A row of nms/kept: image, class, box.
    node("Gather", "nms/kept nms/image_box", "nms/where", axis=1)
    node("GatherND", "nms/boxes nms/where", "nms/kept_boxes")
    node("GatherND", "nms/by_class nms/kept", "nms/flat_scores")
    node("Unsqueeze", "nms/flat_scores nms/last", "nms/kept_scores")
    for part in ("image", "class"):
        node("Gather", f"nms/kept nms/{part}", f"nms/{part}_number", axis=1)
        node("Cast", f"nms/{part}_number", f"nms/{part}_column", to=onnx.TensorProto.FLOAT)
    node("Concat", "nms/image_column nms/kept_boxes nms/kept_scores nms/class_column", DETECTIONS,
         axis=1)  # fmt: skip
    del model.graph.output[:]
    model.graph.output.append(
        helper.make_tensor_value_info(DETECTIONS, onnx.TensorProto.FLOAT, ["found", 7])
    )
    output = "per row: number of the image, xywh in input pixels, score, class"
    kept = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:]
    helper.set_model_props(model, {**kept, "output": output})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
