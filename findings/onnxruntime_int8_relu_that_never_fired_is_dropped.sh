#!/usr/bin/env bash
# ONNX Runtime 1.31.1, ONNX 1.23.2, numpy 2.4.6 (PyPI), Python 3.11 or later.
#
# Convolution, ReLU, convolution. On the calibration images the first gives only negative values, so the
# ReLU gives zeros: a branch for something rare, or a layer that training has put out. In float the second
# convolution gives 0. What does the file that quantize_static makes with its defaults give?
#
# Guess before running: 0.
# Seen: 68 for a float 0, on a calibration image itself. quantize_static takes a ReLU or a Clip behind a
# convolution out of the graph, as the range of the 8-bit values cuts off the same. But the range of
# nothing but zeros has no width: it becomes scale 1 and zero point 0, which for the default type, int8,
# is -128 to 127, and negative values pass. With QUInt8 values (0 to 255) the answer is 0. A Clip from .5
# to 1 goes the same way with both types: every range reaches to 0, so nothing lifts 0 to .5, and the
# answer is 0 where float gives 2.
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
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static


class Images(CalibrationDataReader):
    def __init__(self, images):
        self.rest = iter([{"x": image} for image in images])

    def get_next(self):
        return next(self.rest, None)


def save(activation):
    constants = {
        "negative": np.full((4, 3, 1, 1), -1, np.float32), "bias": np.full(4, -15.8, np.float32),
        "ones": np.ones((1, 4, 1, 1), np.float32),
        "low": np.float32(0.5), "high": np.float32(1),
    }
    bounds = ["low", "high"] if activation == "Clip" else []
    nodes = [
        helper.make_node("Conv", ["x", "negative", "bias"], ["a"]),
        helper.make_node(activation, ["a", *bounds], ["b"]),
        helper.make_node("Conv", ["b", "ones"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 4, 4])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, "float.onnx")


def answers(activation, **options):
    save(activation)
    images = [np.full((1, 3, 4, 4), value, np.float32) for value in (0, 0.5, 1)]
    quantize_static("float.onnx", "int8.onnx", Images(images), **options)
    left = activation in {node.op_type for node in onnx.load("int8.onnx").graph.node}
    both = [
        onnxruntime.InferenceSession(name).run(None, {"x": images[1]})[0]
        for name in ("float.onnx", "int8.onnx")
    ]  # .5, not 1: sums of pairs stay within 16 bits on every processor
    return [round(float(abs(found).max())) for found in both], left


seen = {}
for activation in ("Relu", "Clip"):
    seen[activation, "default"] = answers(activation)
    seen[activation, "QUInt8"] = answers(activation, activation_type=QuantType.QUInt8)
print("onnxruntime", onnxruntime.__version__, "([largest in float, in int8], activation left):", seen)
assert seen == {
    ("Relu", "default"): ([0, 68], False), ("Relu", "QUInt8"): ([0, 0], False),
    ("Clip", "default"): ([2, 0], False), ("Clip", "QUInt8"): ([2, 0], False),
}, seen
PYTHON
