#!/usr/bin/env bash
# esp-ppq 1.3.12 (PyPI), ONNX 1.19.1, torch 2.13.0, numpy 2.4.6, Python 3.11.
#
# Espressif's quantizer writes .espdl files for ESP-DL, its runtime on ESP32-P4 and -S3. What does it
# do with a convolution of two groups, and with Softplus, neither of which that runtime has?
#
# Guess before running: it refuses them, as it does what its own executor lacks (Mish of opset 18).
# Seen: both files are written, without an error or a warning: the convolution with group = 2, the
# Softplus as a float operator between a DequantizeLinear and a QuantizeLinear. Its simulation computes
# both rightly. Read, not run (esp-dl of July 2026): the runtime knows groups of 1, and takes any other
# number as depthwise; of an operator that it has no module for it loads no model. So a file that was
# simulated well may not run, or run as something else: the graph is to be looked at before.
#
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    esp-ppq==1.3.12 onnx==1.19.1 torch==2.13.0 numpy==2.4.6
cd "$folder"
ORT_DISABLE_TELEMETRY=1 "$folder/venv/bin/python" - >said.txt 2>&1 <<'PYTHON' || { cat said.txt; exit 1; }
from pathlib import Path

import numpy as np
import onnx
import torch
from esp_ppq.api import espdl_quantize_onnx
from esp_ppq.executor import TorchExecutor
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
images = torch.from_numpy(rng.random((5, 8, 8, 8), np.float32))


def model(nodes, **kernels):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g",
        [value("images", TensorProto.FLOAT, [1, 8, 8, 8])],
        [value("y", TensorProto.FLOAT, [1, 8, 8, 8])],
        [numpy_helper.from_array(v, k) for k, v in kernels.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made


def kernel(per_group):
    return (rng.standard_normal((8, per_group, 3, 3)) / 8).astype(np.float32)


def conv(made, **more):
    return helper.make_node(
        "Conv", ["images", "k"], [made], name="c", kernel_shape=[3, 3], pads=[1] * 4, **more
    )


grouped = model([conv("y", group=2)], k=kernel(4))
k = torch.from_numpy(numpy_helper.to_array(grouped.graph.initializer[0]).copy())
softplus = model([conv("x"), helper.make_node("Softplus", ["x"], ["y"], name="s")], k=kernel(8))
w = torch.from_numpy(numpy_helper.to_array(softplus.graph.initializer[0]).copy())
right = {
    "grouped": torch.conv2d(images, k, padding=1, groups=2),
    "softplus": torch.nn.functional.softplus(torch.conv2d(images, w, padding=1)),
}
for name, made in (("grouped", grouped), ("softplus", softplus)):
    onnx.save(made, f"{name}.onnx")
    graph = espdl_quantize_onnx(
        f"{name}.onnx", f"{name}.espdl", list(images.split(1)), 5, [1, 8, 8, 8],
        inputs=[images[:1]], target="esp32p4", error_report=False,
    )
    run = TorchExecutor(graph=graph, device="cpu")
    found = torch.cat([run(image)[0] for image in images.split(1)])
    error = float((found - right[name]).abs().mean() / right[name].std())
    text = Path(f"{name}.info").read_text()
    print("seen", name, "bytes:", Path(f"{name}.espdl").stat().st_size,
          "group = 2:", "group = 2" in text, "Softplus:", "= Softplus" in text, f"error: {error:.4f}")
    assert error < 0.05
    assert ("group = 2" in text, "= Softplus" in text) == (name == "grouped", name == "softplus")
PYTHON
grep '^seen' said.txt
# Its log was caught (it has other lines), and has neither word.
grep -q '\[INFO\]\[ESPDL\]' said.txt
if grep -E '\[(ERROR|WARNING)\]' said.txt; then exit 1; fi
