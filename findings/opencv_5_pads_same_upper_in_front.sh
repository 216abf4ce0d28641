#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93 and 4.14.0.94, ONNX 1.23.2, ONNX Runtime 1.31.1, numpy 2.4.6 (PyPI),
# Python 3.11 or later.
#
# auto_pad in an ONNX file: SAME_UPPER puts the odd row and column of padding at the end, as TensorFlow
# and Keras do, SAME_LOWER in front. A 3x3 convolution with stride 2 on a map of even size, the first
# layer of many detectors, has one such row. Does OpenCV's dnn put it where the file says?
#
# Guess before running: yes, both, in both releases.
# Seen: each release reads one of the words as the other. 4.14 puts the row at the end for both, and so is
# right for SAME_UPPER; 5.0 puts it in front for both, in its classic engine and in its new one. A file
# from Keras that runs rightly in 4 moves every feature by a pixel in 5, and neither warns. Poolings are
# the same. With stride 1 and odd kernels nothing is odd, and all agree.
#
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > run.py <<'PYTHON'
import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

x = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)
kernel = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)


def model(op, word, stride):
    inputs = ["x", "kernel"] if op == "Conv" else ["x"]
    node = helper.make_node(
        op, inputs, ["y"], kernel_shape=[3, 3], strides=[stride] * 2, auto_pad=word
    )
    size = 4 // stride
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, size, size])],
        [numpy_helper.from_array(kernel, "kernel")] if op == "Conv" else [],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def runtime(*case):
    return onnxruntime.InferenceSession(model(*case)).run(None, {"x": x})[0]


def opencv(op, word, stride, **engine):
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model(op, word, stride), np.uint8), **engine)
    net.setInput(x)
    return net.forward()


five = cv2.__version__.startswith("5.")
engines = [cv2.dnn.ENGINE_CLASSIC, cv2.dnn.ENGINE_NEW] if five else []
print("opencv", cv2.__version__)
for op in ("Conv", "MaxPool", "AveragePool"):
    upper, lower = (runtime(op, word, 2) for word in ("SAME_UPPER", "SAME_LOWER"))
    assert not np.allclose(upper, lower)
    for engine in [{}, *({"engine": engine} for engine in engines)]:
        found = {word: opencv(op, word, 2, **engine) for word in ("SAME_UPPER", "SAME_LOWER")}
        print(" ", op, engine, {word: values[0, 0].tolist() for word, values in found.items()})
        for values in found.values():
            np.testing.assert_allclose(values, lower if five else upper)
            assert not np.allclose(values, upper if five else lower)
        for word in found:
            np.testing.assert_allclose(opencv(op, word, 1, **engine), runtime(op, word, 1))
PYTHON
for release in 5.0.0.93 4.14.0.94; do
    python3 -m venv "$release"
    "$release/bin/pip" install --quiet --disable-pip-version-check \
        "opencv-python-headless==$release" onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
    "$release/bin/python" run.py
done
