"""MNN and LiteRT: what a file tells its user, how it is opened, and what its makers keep to."""

from __future__ import annotations

import copy
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import compare
import detect
import export
import val
from models import Darknet
from tests.support.nets import conv, head, healthy, healthy_state, image, net, section
from tests.support.tiny_data import make_set
from utils.cfg import format_cfg
from utils.command import optional
from utils.command.errors import UserError
from utils.command.optional import NEEDS, missing
from utils.network.int8.convert import measure_ranges, put_on_grids, ranges_of, set_ranges
from utils.runtimes.choose import open_backend
from utils.runtimes.litert_runtime import LiteRtNetwork, save_litert
from utils.runtimes.onnx.mish import mish_by_exp, mish_by_softplus

CPU = torch.device("cpu")
SUFFIX = {"mnn": ".mnn", "litert": ".tflite"}
KINDS = [
    pytest.param(kind, marks=pytest.mark.skipif(
        bool(missing(NEEDS[kind])), reason=f"needs {', '.join(missing(NEEDS[kind]))}"
    ))
    for kind in SUFFIX
]  # fmt: skip
MODEL = ["--cfg", "my.cfg", "--weights", "my.weights"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """my.cfg, my.weights and my.data in the current folder."""
    monkeypatch.chdir(tmp_path)
    cfg = net(conv(8, stride=2, activation="mish"), section("maxpool", size=2, stride=1),
              conv(8, stride=2), head(), width=64, height=96)  # fmt: skip
    Path("my.cfg").write_text(format_cfg(cfg))
    model = Darknet("my.cfg")
    model.load_state(healthy_state(model))
    model.save_weights("my.weights")
    make_set(tmp_path, 4)
    Path("my.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\nnames=my.names\n")
    Path("my.names").write_text("cat\ndög\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_run_by_its_suffix_and_tells_its_names(kind: str, here: Path) -> None:
    done = export.main([*MODEL, "--format", kind, "--data", "my.data", "--output", "a"])
    assert done.files == (Path(f"a{SUFFIX[kind]}"),)
    assert done.agreement.difference < 1e-4 and done.agreement.moved == 0
    made = ["--cfg", "my.cfg", "--weights", str(done.files[0])]
    how = ["--data", "my.data", "--workers", "0"]
    assert val.main([*made, *how]).map == pytest.approx(val.main([*MODEL, *how]).map, abs=1e-3)
    assert detect.main([*made, "--source", "images"]).names == ("cat", "dög")
    network = Darknet("my.cfg")
    predict = open_backend(kind, network, done.files[0], CPU)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="is made for 64x96 pixels, not for 96x64"):
        predict(image(network, batch=1).transpose(2, 3))
    with pytest.raises(UserError, match=f"is for --backend {kind}, not onnx"):
        open_backend("onnx", network, done.files[0], CPU)
    with pytest.raises(UserError, match="is there already"):
        export.main([*MODEL, "--format", kind, "--output", "a"])


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_are_none(kind: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path(f"bad{SUFFIX[kind]}").write_bytes(b"no such thing" * 50)
    for name, message in (("bad", f"bad{SUFFIX[kind]}: .* cannot open it"), ("no", "no")):
        with pytest.raises(UserError, match=message) as caught:
            open_backend(kind, Darknet("my.cfg"), f"{name}{SUFFIX[kind]}", CPU)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # these libraries print from C++


@pytest.mark.parametrize("kind", KINDS)
def test_int8_in_a_comparison(kind: str, here: Path, root: Path,
                              monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))
    flags = ["--models", "my.cfg,my.weights", "--runtimes", f"{kind},{kind}-int8", "--runs", "2"]
    plain, small = compare.main([*flags, "--data", "my.data"])
    assert not isinstance(plain.result, str) and not isinstance(small.result, str)
    assert plain.result.map50 is not None and small.result.map50 is not None
    assert abs(plain.result.map50 - small.result.map50) < 0.3
    assert small.result.file_bytes < plain.result.file_bytes
    with pytest.raises(UserError, match="name a data set with --data"):
        export.main([*MODEL, "--format", kind, "--int8"])


@pytest.mark.skipif(bool(missing(NEEDS["mnn"])), reason="needs MNN")
def test_mnns_converter_calls_no_pip(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mnnconvert`, as its wheel has it, installs a logging client by the first pip on PATH."""
    Path("bin").mkdir()
    Path("bin/pip").write_text(f"#!/bin/sh\ntouch {here}/called\n")
    Path("bin/pip").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(here / "bin"), os.environ["PATH"]]))
    monkeypatch.setattr(
        "utils.runtimes.mnn_runtime._CALL",
        # After its own work: what of it is loaded that could send anything?
        "import json, sys, _tools; words = json.load(sys.stdin); getattr(_tools, words[0])(words)\n"
        'open("loaded", "w").write(" ".join(sys.modules))',
    )
    export.main([*MODEL, "--format", "mnn", "--output", "a"])
    assert not Path("called").exists()
    loaded = Path("loaded").read_text().split()
    assert "_tools" in loaded and not {"aliyun", "MNN.tools", "urllib.request"} & set(loaded)


@pytest.mark.skipif(bool(missing(NEEDS["mnn"])), reason="needs MNN")
def test_a_converter_that_dies_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("utils.runtimes.mnn_runtime._CALL", "import os; os.abort()")
    before = sorted(here.iterdir())
    with pytest.raises(UserError, match="mnnconvert could not make it"):
        export.main([*MODEL, "--format", "mnn", "--output", "a"])
    assert sorted(here.iterdir()) == before


@pytest.mark.skipif(bool(missing(NEEDS["litert"])), reason="needs litert-torch")
def test_litert_in_half_and_in_integers(here: Path) -> None:
    interpreter = optional.load("ai_edge_litert.interpreter")
    export.main([*MODEL, "--format", "litert", "--half", "--output", "h"])
    export.main([*MODEL, "--format", "litert", "--int8", "--data", "my.data", "--output", "i"])
    for name, kind, ends in (("h", np.float32, ["predictions"]), ("i", np.int8, ["head0"])):
        opened = interpreter.Interpreter(model_path=f"{name}.tflite")
        run = opened.get_signature_runner()
        told = {**run.get_input_details(), **run.get_output_details()}
        assert list(told) == ["images", *ends]
        assert all(entry["dtype"] == kind for entry in told.values())
    with zipfile.ZipFile("h.tflite") as archive:
        told = json.loads(archive.read("darkslim.json"))
    assert json.loads(told["heads"])[0]["stride_px"] == 4


@pytest.mark.skipif(bool(missing(NEEDS["onnx"])), reason="needs onnx, onnxscript, onnxruntime")
@pytest.mark.parametrize("spelled_out", [mish_by_softplus, mish_by_exp])
def test_mish_spelled_out_is_mish(tmp_path: Path, spelled_out: Callable[[Path], int]) -> None:
    onnx, runtime = optional.load("onnx"), optional.load("onnxruntime")
    shape = [1, 50]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Mish", ["x"], ["y"], name="m")], "g",
        [value("x", onnx.TensorProto.FLOAT, shape)], [value("y", onnx.TensorProto.FLOAT, shape)],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.save(model, str(tmp_path / "b.onnx"))
    assert spelled_out(tmp_path / "b.onnx") == 1
    assert spelled_out(tmp_path / "b.onnx") == 0
    ends = [-1e4, -100, -30, 19.9, 20.1, 30, 100, 1e4]
    x = np.concatenate([ends, np.linspace(-8, 8, 42)]).astype(np.float32)[None]
    with torch.no_grad():
        wanted = torch.nn.functional.mish(torch.from_numpy(x)).numpy()
    (found,) = runtime.InferenceSession(str(tmp_path / "b.onnx")).run(None, {"x": x})
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    assert np.abs(found - x).max() > 1  # it is not the identity


@pytest.mark.skipif(bool(missing(NEEDS["litert"])), reason="needs litert-torch")
def test_litert_computes_by_the_ranges_of_a_finetuned_network(tmp_path: Path) -> None:
    network = healthy(net(
        conv(8, stride=2, activation="swish"), conv(8, activation="leaky"),
        section("shortcut", frm=-2, activation="linear"), section("maxpool", size=2, stride=2),
        section("upsample", stride=2), section("route", layers="-1,0"), conv(12, groups=2), head(),
        width=64, height=96,
    )).eval()  # fmt: skip
    plain, images = copy.deepcopy(network), image(network, seed=3)
    put_on_grids(network)
    measure_ranges(network, [image(network)])
    measured, found = ranges_of(network), {}
    for share in (1.0, 0.5):
        set_ranges(network, {name: (share * a, share * b) for name, (a, b) in measured.items()})
        path = tmp_path / f"{share}.tflite"
        save_litert(network, path, {})
        with torch.no_grad():
            rounded, in_float = network.eval()(images), plain(images)
        found[share] = LiteRtNetwork(path, plain)(images)
        error = float((found[share] - rounded).abs().mean())
        assert error < 0.4 * float((in_float - rounded).abs().mean())  # not merely near to float
    assert not torch.allclose(found[1.0], found[0.5], atol=1e-2)
    run = optional.load("ai_edge_litert.interpreter").Interpreter(str(path)).get_signature_runner()
    assert run.get_input_details()["images"]["dtype"] == np.int8
    assert path.stat().st_size < 40_000
