#!/usr/bin/env bash
# MNN 3.6.1, ONNX 1.23.2, ONNX Runtime 1.31.1, numpy 2.4.6 (PyPI), Python 3.11 or later, Linux x86-64.
#
# A norm over the channels of each cell, as in SSD's L2 normalization: ReduceL2 over axis 1. Up to opset 17
# the axes are an attribute, from 18 on an input, here a constant. What does MNN's converter make of both?
#
# Guess before running: the same network twice, or a refusal of the newer one.
# Seen: the older comes out right. Of the newer it says "Converted Success!", ends with code 0, and the
# network gives one number for the whole map: the axes are left out, and none means all. ReduceL1,
# ReduceSumSquare, ReduceLogSum and ReduceLogSumExp go the same way; ReduceMean, ReduceSum, ReduceMax and
# ReduceProd keep their axes in both.
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
x = np.random.default_rng(0).uniform(0.5, 1, (1, 3, 5, 7)).astype(np.float32)


def save(op, opset):
    as_input = opset >= 18 or op == "ReduceSum"
    axes = {} if as_input else {"axes": [1]}
    node = helper.make_node(op, ["x", "axes"] if as_input else ["x"], ["y"], keepdims=1, **axes)
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 5, 7])],
        [numpy_helper.from_array(np.array([1]), "axes")] if as_input else [],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, "a.onnx")


def shape(op, opset):
    save(op, opset)
    right = onnxruntime.InferenceSession("a.onnx").run(None, {"x": x})[0]
    words = ["mnnconvert", "-f", "ONNX", "--modelFile", "a.onnx", "--MNNModel", "a.mnn", "--bizCode", "x"]
    done = subprocess.run([sys.executable, "-c", CALL, *words], capture_output=True, text=True)
    assert done.returncode == 0 and "Converted Success!" in done.stdout + done.stderr
    net = MNN.nn.load_module_from_file("a.mnn", ["x"], ["y"])
    (found,) = net.forward([MNN.expr.const(x, x.shape, MNN.expr.NCHW)])
    found = np.array(MNN.expr.convert(found, MNN.expr.NCHW).read())
    if found.shape == right.shape:
        np.testing.assert_allclose(found, right, rtol=1e-5)
    return found.shape


kept = {op: [shape(op, opset) for opset in (13, 18)] for op in (
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceProd")}
lost = {op: [shape(op, opset) for opset in (13, 18)] for op in (
    "ReduceL2", "ReduceL1", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")}
print("MNN", MNN.version(), "shapes at opset 13 and 18:")
for op, shapes in (kept | lost).items():
    print(" ", op, *shapes)
assert all(shapes == [(1, 1, 5, 7)] * 2 for shapes in kept.values()), kept
assert all(shapes == [(1, 1, 5, 7), (1, 1, 1, 1)] for shapes in lost.values()), lost
PYTHON
