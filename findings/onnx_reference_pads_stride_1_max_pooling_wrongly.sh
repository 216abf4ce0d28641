#!/usr/bin/env bash
# onnx 1.23.2 with its ReferenceEvaluator, ONNX Runtime 1.31.1, numpy 2.4.6 (PyPI), Python 3.11 or later.
#
# The pool of YOLOv3-tiny and YOLOv2-tiny that keeps the size of its map: MaxPool 2x2, stride 1, one row
# and one column of padding at the end only (pads 0 0 1 1). The onnx package brings an evaluator that
# says what each operator means. What does it make of a 4x4 map?
#
# Guess before running: 4x4, the numbers that ONNX Runtime gives.
# Seen: 3x5, and other numbers: it takes the pads as begin and end of each axis in turn, so both go to
# the last axis. onnx's own shape inference says 4x4 for the same file. With stride 2, where MaxPool
# takes other code, and for AveragePool with stride 1, the same pads come out right; so do equal pads on
# all sides, as in SPP. Who checks an exporter against the reference finds fault with a correct file.
#
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4) % 7


def shapes(op, kernel, stride, pads):
    node = helper.make_node(
        op, ["x"], ["y"], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads
    )
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    made = onnx.shape_inference.infer_shapes(made, strict_mode=True)
    onnx.checker.check_model(made, full_check=True)
    inferred = tuple(d.dim_value for d in made.graph.output[0].type.tensor_type.shape.dim)
    (runtime,) = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"x": x})
    (reference,) = ReferenceEvaluator(made).run(None, {"x": x})
    assert inferred == runtime.shape
    same = runtime.shape == reference.shape and np.allclose(runtime, reference)
    return runtime.shape[2:], reference.shape[2:], bool(same)


seen = {
    (op, kernel, stride, tuple(pads)): shapes(op, kernel, stride, pads)
    for op, kernel, stride, pads in (
        ("MaxPool", 2, 1, [0, 0, 1, 1]),
        ("MaxPool", 2, 2, [0, 0, 1, 1]),
        ("MaxPool", 3, 1, [1, 1, 1, 1]),
        ("AveragePool", 2, 1, [0, 0, 1, 1]),
    )
}
print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
for case, (right, reference, same) in seen.items():
    print(" ", *case, "runtime:", right, "reference:", reference, "same numbers:", same)
assert list(seen.values()) == [
    ((4, 4), (3, 5), False), ((2, 2), (2, 2), True), ((4, 4), (4, 4), True), ((4, 4), (4, 4), True)
], seen
PYTHON
