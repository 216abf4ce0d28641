#!/usr/bin/env bash
# ONNX Runtime 1.31.1, ONNX 1.23.2, numpy 2.4.6 (PyPI), Python 3.11 or later.
#
# A head that is shared between scales, as RetinaNet's: two convolutions of one kernel and one bias, on
# maps whose values reach 1 and 100. quantize_static makes 8 bits of it, once in each of its two formats.
#
# Guess before running: each output within some steps of the float one, in both formats.
# Seen: with QuantFormat.QDQ, yes. With QuantFormat.QOperator the second output is off by more than its
# largest value: the bias becomes integers once, in steps of the first convolution's input and kernel,
# and the second reads the same integers in steps 100 times as wide. Nothing warns. With two copies of
# the bias, by two names, QOperator is right too.
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
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static


class Images(CalibrationDataReader):
    def __init__(self, images):
        self.rest = iter([{"x": image} for image in images])

    def get_next(self):
        return next(self.rest, None)


def save(second_bias):
    rng = np.random.default_rng(0)
    bias = np.array([10, -20, 30, 5], np.float32)
    constants = {
        "kernel": rng.uniform(-1, 1, (4, 3, 3, 3)).astype(np.float32),
        "bias": bias, second_bias: bias, "hundred": np.float32(100),
    }
    nodes = [
        helper.make_node("Mul", ["x", "hundred"], ["wide"]),
        helper.make_node("Conv", ["x", "kernel", "bias"], ["first"]),
        helper.make_node("Conv", ["wide", "kernel", second_bias], ["second"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4, 6, 6]) for n in ("first", "second")],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, "float.onnx")


def errors(form, second_bias):
    save(second_bias)
    images = list(np.random.default_rng(1).random((4, 1, 3, 8, 8), np.float32))
    # 7 bits for kernels, so that sums of pairs stay within 16 bits on every processor.
    quantize_static(
        "float.onnx", "int8.onnx", Images(images), quant_format=form, reduce_range=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )
    right, found = (
        onnxruntime.InferenceSession(name).run(None, {"x": images[0]})
        for name in ("float.onnx", "int8.onnx")
    )
    return [round(float(abs(r - f).max() / abs(r).max()), 3) for r, f in zip(right, found)]


seen = {
    (form.name, bias): errors(form, bias)
    for form in (QuantFormat.QDQ, QuantFormat.QOperator)
    for bias in ("bias", "copy")
}
print("onnxruntime", onnxruntime.__version__, "largest errors by largest value (first, second):", seen)
assert seen["QOperator", "bias"][1] > 1, seen
del seen["QOperator", "bias"]
assert max(map(max, seen.values())) < 0.03, seen
PYTHON
