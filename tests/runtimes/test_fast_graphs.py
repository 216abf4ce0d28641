"""What ONNX Runtime is slow at does not stand in the files that it is to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import Darknet
from tests.support.nets import conv, head, healthy, image, net
from utils.command.optional import INT8_NEEDS, load, missing
from utils.network.darknet import Network
from utils.runtimes.files import FileOptions, write_files
from utils.runtimes.onnx.run import OnnxNetwork
from utils.runtimes.options import target_files

pytestmark = pytest.mark.skipif(bool(missing(INT8_NEEDS["onnx"])), reason="needs ONNX Runtime")


def operators(path: Path) -> set[str]:
    return {node.op_type for node in load("onnx").load(str(path)).graph.node}


@pytest.fixture
def network() -> Network:
    """Two convolutions with mish, and a head."""
    layers = (conv(8, stride=2, activation="mish"), conv(8, activation="mish"), head())
    return healthy(net(*layers, width=64, height=96)).eval()


@pytest.mark.parametrize("int8", [False, True])
def test_mish_is_one_exponential(tmp_path: Path, network: Network, int8: bool) -> None:
    images = [image(network, seed)[:1].numpy().astype(np.float32) for seed in range(2)]
    options = FileOptions("onnx", network.img_size, calibration=images if int8 else ())
    write_files(network, tmp_path / "a", options, {})
    assert not operators(tmp_path / "a.onnx") & {"Mish", "Softplus"}
    if not int8:
        x = image(network, 3)[:1]
        with torch.no_grad():
            wanted = network(x)
        np.testing.assert_allclose(OnnxNetwork(tmp_path / "a.onnx")(x), wanted, atol=1e-4)


@pytest.mark.parametrize(("kind", "half"), [("onnx", True), ("opencv", False)])
def test_elsewhere_mish_stays(tmp_path: Path, network: Network, kind: Any, half: bool) -> None:
    """e^2x has no room in 16 bits, and OpenCV has a kernel of its own."""
    options = FileOptions(kind, network.img_size, half=half)
    write_files(network, tmp_path / "a", options, {})
    assert "Mish" in operators(target_files(tmp_path / "a", kind)[0])


def test_the_bins_of_a_side_lie_in_four_dimensions(tmp_path: Path, root: Path) -> None:
    network = Darknet(root / "cfg" / "yolov8n.cfg", (64, 64)).eval()
    write_files(network, tmp_path / "a", FileOptions("onnx", network.img_size), {})
    onnx = load("onnx")
    graph = onnx.shape_inference.infer_shapes(onnx.load(str(tmp_path / "a.onnx"))).graph
    sizes = {value.name: value.type.tensor_type.shape.dim for value in graph.value_info}
    ranks = [len(sizes[node.input[0]]) for node in graph.node if node.op_type == "Softmax"]
    assert ranks == [4, 4, 4]
