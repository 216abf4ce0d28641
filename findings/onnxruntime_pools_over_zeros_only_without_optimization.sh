#!/usr/bin/env bash
# ONNX Runtime 1.31.1, ONNX 1.23.2, numpy 2.4.6 (PyPI), Python 3.11 or later.
#
# The last pool of YOLOv3-tiny as ultralytics writes it: ZeroPad2d, then MaxPool2d 2x2 with stride 1. In
# ONNX a Pad with zeros and a MaxPool. Where a border cell and its neighbours are negative, the zero is
# the largest of its window. By its documentation ONNX Runtime's basic optimizations leave the meaning of
# a graph alone: does the border come out the same with and without them?
#
# Guess before running: bit for bit.
# Seen: no. Optimized, as by default, the Pad goes into the MaxPool's own padding, which stands for minus
# infinity and never wins: the border holds the negative values. With ORT_DISABLE_ALL, and in onnx's
# own reference evaluator, it holds the zeros that the network was trained with. So at opsets 13, 18 and 22.
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
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

x = -1 - np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)


def model(opset):
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["padded"]),
        helper.make_node("MaxPool", ["padded"], ["y"], kernel_shape=[2, 2], strides=[1, 1]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)],
        [numpy_helper.from_array(np.array([0, 0, 0, 0, 0, 0, 1, 1]), "pads")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    return made


def border(made, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(made.SerializeToString(), options)
    return session.run(None, {"x": x})[0][0, 0, -1].tolist()


levels = onnxruntime.GraphOptimizationLevel
seen = {}
for opset in (13, 18, 22):
    made = model(opset)
    (reference,) = ReferenceEvaluator(made).run(None, {"x": x})
    default, plain = (border(made, level) for level in (levels.ORT_ENABLE_ALL, levels.ORT_DISABLE_ALL))
    assert plain == reference[0, 0, -1].tolist()
    seen[opset] = (default, plain)
print("onnxruntime", onnxruntime.__version__, "last row by opset (optimized, not):", seen)
assert set(map(repr, seen.values())) == {repr(([-7.0, -8.0, -9.0], [0.0, 0.0, 0.0]))}, seen
PYTHON
