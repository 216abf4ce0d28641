"""int8 files: right on every processor, told where not, and those of a finetuned network."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from models import Darknet
from tests.support.nets import SMALL_DETECTOR, conv, head, healthy, image, net, section
from tests.support.tiny_data import make_set
from utils.data.darknet_files import load_data_file
from utils.network.int8.convert import measure_ranges, put_on_grids, take_off_grids
from utils.network.int8.written import written
from utils.runtimes.files import FileOptions, write_files
from utils.runtimes.int8 import quantize_onnx
from utils.runtimes.onnx.export import OnnxOptions, onnx_metadata, save_onnx
from utils.runtimes.onnx.integers import errors_between, integer_errors
from utils.runtimes.onnx.run import OnnxNetwork
from utils.runtimes.real_images import calibration_inputs


@pytest.fixture(scope="module")
def network() -> Darknet:
    """A residual, poolings, a part of a route, an upsampling, two heads; on grids."""
    cfg = net(
        conv(8, stride=2, activation="mish"), conv(8, activation="swish"),
        section("shortcut", frm=-2, activation="linear"),
        section("maxpool", size=2, stride=1), section("maxpool", size=2, stride=2),
        conv(12, groups=2), head(scale_x_y=1.05), section("route", layers=5),
        section("route", layers=-1, groups=2, group_id=1), section("upsample", stride=2),
        section("route", layers="-1,2"), head(),
        width=64, height=96,
    )  # fmt: skip
    made = healthy(cfg)
    put_on_grids(made)
    measure_ranges(made, [image(made, seed) for seed in range(3)])
    return made.fuse()


@pytest.fixture(scope="module")
def graph(network: Darknet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "raw.onnx"
    save_onnx(written(network), path, OnnxOptions(network.img_size, raw=True), {})
    return path


def run(path: Path, images: Tensor, optimized: bool) -> list[Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimized:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    found = [session.run(None, {"images": part[None].numpy()}) for part in images]
    return [torch.from_numpy(np.concatenate(heads)) for heads in zip(*found, strict=True)]


@pytest.mark.parametrize("optimized", [False, True])
def test_the_file_computes_what_the_finetuned_network_does(
    network: Darknet, graph: Path, optimized: bool
) -> None:
    """But for values half-way between two steps: a ten-thousandth of the largest on average."""
    images = image(network, seed=9)
    with torch.no_grad():
        expected = network.raw_heads(images)
        in_float = copy.deepcopy(network)
        take_off_grids(in_float)
        apart = in_float.raw_heads(images)
    for ours, theirs, unrounded in zip(expected, run(graph, images, optimized), apart, strict=True):
        error = (theirs - ours).abs().mean() / ours.abs().max()
        assert float(error) < 1e-3
        # Negative control: the network in float is not that near.
        assert float((unrounded - ours).abs().mean() / ours.abs().max()) > 4 * float(error)


def test_the_written_network_computes_the_same(network: Darknet) -> None:
    images = image(network, seed=9)
    with torch.no_grad():
        for ours, theirs in zip(
            network.raw_heads(images), written(network).raw_heads(images), strict=True
        ):
            assert float((theirs - ours).abs().mean() / ours.abs().max()) < 1e-3


def test_convolutions_run_in_integers(graph: Path, tmp_path: Path) -> None:
    """All but those whose output stays in float, the heads' own; kernels are stored in 8 bits."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(str(graph), options, ["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kinds.count("QLinearConv") == 3 and kinds.count("Conv") == 2
    stored = [t for t in onnx.load(graph).graph.initializer if t.name.endswith("kernel_steps")]
    assert len(stored) == 5
    for tensor in stored:
        assert tensor.data_type == onnx.TensorProto.INT8
        assert np.abs(onnx.numpy_helper.to_array(tensor)).max() <= 64


def test_kernels_have_room_on_every_processor(tmp_path: Path) -> None:
    """7 bits: two products with 8 bits add up in 16."""
    model = healthy(net(*SMALL_DETECTOR))
    images = [image(model, seed, batch=1).numpy() for seed in range(4)]
    plain, made = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    save_onnx(model, plain, OnnxOptions(model.img_size), {})
    quantize_onnx(plain, made, images)
    kernels = [
        onnx.numpy_helper.to_array(t)
        for t in onnx.load(made).graph.initializer
        if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4
    ]
    assert kernels and max(int(np.abs(k.astype(int)).max()) for k in kernels) <= 64
    batch = torch.from_numpy(np.concatenate(images))
    with torch.no_grad():
        errors = integer_errors(made, batch, model.eval()(batch))
    assert errors.share < 1, errors


def test_a_runtime_that_saturates_is_told_from_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    in_float = torch.rand(2, 50, 7, generator=generator)
    same = in_float + 1e-3 * torch.randn(2, 50, 7, generator=generator)
    right = same + 1e-4 * torch.randn(2, 50, 7, generator=generator)
    assert errors_between(right, same, in_float).share < 0.3
    saturated = same.clamp(max=0.7)
    told = errors_between(saturated, same, in_float)
    assert told.share > 5 and "WARNING" in str(told)
    assert "WARNING" not in str(errors_between(right, same, in_float))
    assert errors_between(same, same, in_float).share == 0


def test_images_to_calibrate_on_are_drawn_by_the_seed(tmp_path: Path) -> None:
    make_set(tmp_path, 6)
    (tmp_path / "a.names").write_text("a\nb\n")
    (tmp_path / "a.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\nnames=a.names\n")
    spec = load_data_file(tmp_path / "a.data")

    def drawn(seed: int) -> Any:
        return np.concatenate(calibration_inputs(spec, 3, (32, 32), "stretch", seed=seed))

    assert np.array_equal(drawn(1), drawn(1))
    assert any(not np.array_equal(drawn(1), drawn(seed)) for seed in range(2, 6))
    assert len(calibration_inputs(spec, 99, (32, 32), "stretch")) == 6


def test_the_files_of_a_finetuned_network_say_so(network: Darknet, tmp_path: Path) -> None:
    told = onnx_metadata(network, ("a", "b"))
    options = FileOptions("onnx", network.img_size, trained=True)
    write_files(network, tmp_path / "a", options, told)
    model = onnx.load(tmp_path / "a.onnx")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["int8"] == "finetuned" and json.loads(metadata["names"]) == ["a", "b"]
    images = image(network, seed=4)
    with torch.no_grad():
        expected = network(images)
    assert OnnxNetwork(tmp_path / "a.onnx")(images).shape == expected.shape
