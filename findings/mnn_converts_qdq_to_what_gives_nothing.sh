#!/usr/bin/env bash
# MNN 3.6.1 (PyPI), ONNX 1.23.2, ONNX Runtime 1.31.1, Python 3.11 or later, Linux x86-64.
#
# An int8 ONNX file of today: QuantizeLinear and DequantizeLinear around one convolution, its kernel
# stored in int8 (opset 18, checked, run by ONNX Runtime). What does MNN's converter make of it?
#
# Guess before running: a file that computes the same to within a step, or a refusal.
# Seen: the converter ends with code 0 and "Converted Success!". The file opens, names its input and
# output, and forward() returns an empty list, with "Error for compute convolution shape" on the
# console: the image arrives at the convolution as (3, 1, 8, 8). So is it with a scale for each
# output channel and with one scale. Who only looks at the exit code ships a file that finds nothing.
#
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    MNN==3.6.1 onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import subprocess
import sys

import MNN
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

# The function under `mnnconvert`: the command itself would run pip and report to its makers.
CALL = "import sys, _tools; _tools.mnnconvert(sys.argv[1:])"


def model(by_channel):
    rng = np.random.default_rng(0)
    kernel = rng.integers(-64, 65, (8, 3, 3, 3)).astype(np.int8)
    scale = np.full(8, 0.01, np.float32) if by_channel else np.float32(0.01)
    zero = np.zeros(8, np.int8) if by_channel else np.int8(0)
    constants = {
        "kernel": kernel, "kernel_scale": scale, "kernel_zero": zero,
        "scale": np.float32(1 / 255), "zero": np.uint8(0),
    }
    axis = {"axis": 0} if by_channel else {}
    step = ["scale", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["images", *step], ["steps"]),
        helper.make_node("DequantizeLinear", ["steps", *step], ["x"]),
        helper.make_node("DequantizeLinear", ["kernel", "kernel_scale", "kernel_zero"], ["k"], **axis),
        helper.make_node("Conv", ["x", "k"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 8, 8])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made


x = np.random.default_rng(1).random((1, 3, 8, 8), np.float32)
for by_channel in (True, False):
    onnx.save(model(by_channel), "a.onnx")
    right = onnxruntime.InferenceSession("a.onnx").run(None, {"images": x})[0]
    assert right.shape == (1, 8, 8, 8) and abs(right).max() > 1
    words = ["mnnconvert", "-f", "ONNX", "--modelFile", "a.onnx", "--MNNModel", "a.mnn", "--bizCode", "x"]
    done = subprocess.run([sys.executable, "-c", CALL, *words], capture_output=True, text=True)
    said = "Converted Success!" in done.stdout + done.stderr
    net = MNN.nn.load_module_from_file("a.mnn", ["images"], ["y"])
    found = net.forward([MNN.expr.const(x, x.shape, MNN.expr.NCHW)])
    print("MNN", MNN.version(), "by channel:", by_channel, "code:", done.returncode,
          "says success:", said, "outputs:", len(found))
    assert (done.returncode, said, len(found)) == (0, True, 0)
PYTHON
