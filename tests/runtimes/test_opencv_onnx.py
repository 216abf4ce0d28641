"""OpenCV by ONNX: all of it with OpenCV 5; with 4, which reads ONNX too, as if it were 5."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import compare
import detect
import export
import slim_prune
import val
from examples import darknet_opencv, onnx_opencv, yolov8_opencv
from models import Darknet
from tests.support.installed.opencv_version import READS_CFG
from tests.support.nets import conv, head, healthy_state, image, net, section
from tests.support.prune_case import prune_by_flags
from tests.support.tiny_data import make_set
from utils.cfg import format_cfg
from utils.command.errors import UserError
from utils.command.optional import NEEDS, missing
from utils.data.letterbox import letterbox, picture_input
from utils.detection.nms import nms
from utils.runtimes import needs
from utils.runtimes.choose import open_backend, open_opencv
from utils.runtimes.demo.run import measure_stages
from utils.runtimes.demo.stages import Stage
from utils.runtimes.onnx.export import OnnxOptions, onnx_metadata, save_onnx
from utils.runtimes.opencv_onnx import OpenCVOnnx

pytestmark = pytest.mark.skipif(bool(missing(NEEDS["onnx"])), reason="needs onnx, onnxscript")

CPU = torch.device("cpu")
FILES = ["--cfg", "my.cfg", "--weights", "my.weights"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """my.cfg, my.weights and my.data, in the current folder; this OpenCV counts as OpenCV 5."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(needs, "opencv_version", lambda: "5.0.0")
    cfg = net(
        conv(8, stride=2), conv(8, activation="swish"), section("maxpool", size=2, stride=1),
        conv(8, stride=2), head(), section("route", layers=-2), section("upsample", stride=2),
        section("route", layers="-1,1"), head(), width=64, height=96,
    )  # fmt: skip
    Path("my.cfg").write_text(format_cfg(cfg))
    model = Darknet("my.cfg")
    model.load_state(healthy_state(model))
    model.save_weights("my.weights")
    make_set(tmp_path, 4)
    Path("my.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\nnames=my.names\n")
    Path("my.names").write_text("cat\ndog\n")
    return tmp_path


def loaded() -> Darknet:
    return Darknet("my.cfg").load_weights("my.weights").eval()


def test_the_version_is_read_without_loading_opencv() -> None:
    needs.opencv_version.cache_clear()
    # The wheel counts its own builds behind OpenCV's number.
    assert needs.opencv_version().startswith(cv2.__version__)
    assert needs.opencv_reads_cfg() == READS_CFG


@torch.no_grad()
def test_it_computes_what_we_do(here: Path) -> None:
    model = loaded()
    images = image(model, batch=3)
    found = open_opencv(Darknet("my.cfg"), "my.weights")
    assert isinstance(found, OpenCVOnnx)
    for ours, theirs in zip(model.raw_heads(images), found.head_outputs(images), strict=True):
        assert torch.allclose(theirs, ours, atol=2e-5 * float(ours.abs().max()))
    for predict in (found, open_backend("opencv", Darknet("my.cfg"), "my.weights", CPU)):
        torch.testing.assert_close(predict(images), model(images), atol=1e-3, rtol=1e-4)
    # Negative control: of another image, they would be far away.
    assert not torch.allclose(found(images.flip(0)), model(images), atol=1e-1)
    with pytest.raises(UserError, match="is made for 64x96 pixels, not for 64x64"):
        found(images[:, :, :64])


@pytest.mark.parametrize(("flag", "tolerance"), [("dynamic", 1e-3), ("half", 2e-1)])
def test_files_that_the_classic_engine_refuses(here: Path, flag: str, tolerance: float) -> None:
    """OpenCV 5's other engine takes them; OpenCV 4 has no other, and says so or does without."""
    network = loaded()
    options = OnnxOptions(network.img_size, **{flag: True})
    save_onnx(network, here / "my.onnx", options, onnx_metadata(network, ("cat", "dog")))
    opened = Darknet("my.cfg")
    images = image(network, batch=2)
    if READS_CFG and flag == "dynamic":
        with pytest.raises(UserError, match=r"my.onnx: OpenCV cannot import it \(.*parse error"):
            open_backend("opencv", opened, "my.onnx", CPU)
        return
    predict = open_backend("opencv", opened, "my.onnx", CPU)
    assert opened.names == ("cat", "dog")
    with torch.no_grad():
        torch.testing.assert_close(predict(images), network(images), atol=tolerance, rtol=2e-2)
        if flag == "dynamic":
            wide = image(network, batch=1).repeat(1, 1, 1, 2)
            torch.testing.assert_close(predict(wide), network(wide), atol=tolerance, rtol=1e-4)


def test_commands_go_by_onnx(here: Path, root: Path, monkeypatch: pytest.MonkeyPatch,
                             capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    done = export.main([*FILES, "--format", "opencv", "--data", "my.data", "--output", "out"])
    assert done.files == (Path("out.onnx"),)
    assert done.agreement.difference < 1e-4 and done.median_ms
    assert "examples/onnx_opencv.py" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"is ONNX for OpenCV .* with float32 weights"):
        export.main([*FILES, "--format", "opencv", "--half", "--output", "o"])
    how = ["--data", "my.data", "--workers", "0"]
    by_torch = val.main([*FILES, *how])
    for weights in ("my.weights", "out.onnx"):
        model = ["--cfg", "my.cfg", "--weights", weights, "--backend", "opencv"]
        assert val.main([*model, *how]).map == pytest.approx(by_torch.map, abs=1e-3)
        assert detect.main([*model, "--source", "images"]).frames == 4
    # A fresh process, which asks its own OpenCV; it must find models.py, as from a script here.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))
    pair = ["--models", "my.cfg,my.weights", "--runtimes", "opencv", "--runs", "2"]
    (row,) = compare.main([*pair, "--data", "my.data"])
    assert not isinstance(row.result, str) and row.result.map50 == pytest.approx(
        by_torch.map50, abs=1e-3
    )


def test_the_demo_goes_by_onnx(here: Path) -> None:
    (found,) = measure_stages([Stage("a", here / "my.cfg", here / "my.weights")],
                              here / "my.data", Darknet)  # fmt: skip
    assert found.opencv.map50 == pytest.approx(found.torch.map50, abs=1e-3)
    assert 0 < found.head_difference < 1e-3


def test_what_needs_opencv_4_says_what_to_do(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "OpenCV 5.0.0 cannot read Darknet files .*--format onnx"
    with pytest.raises(UserError, match=told):
        prune_by_flags(
            slim_prune.STRATEGY, [*FILES, "--target-latency-ms", "1", "--runtime", "opencv"]
        )


@pytest.mark.parametrize("example", [darknet_opencv, yolov8_opencv])
def test_examples_for_a_cfg_say_what_to_do(
    example: object, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(cv2.dnn, "readNetFromDarknet", raising=False)
    with pytest.raises(SystemExit, match=r"export.py --format opencv, then examples/onnx_opencv"):
        example.main("my.cfg", "my.weights", "my.names", "a.jpg")  # type: ignore[attr-defined]


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@torch.no_grad()
def test_the_example_decodes_as_we_do(fit: str, here: Path) -> None:
    network = loaded()
    save_onnx(network, here / "my.onnx", OnnxOptions(network.img_size), {})
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    read = onnx_opencv.read_net(str(here / "my.onnx"))
    found = onnx_opencv.detect(read, picture, (64, 96), fit == "letterbox", 0.2, 0.45)
    framed, geometry = letterbox(picture[..., ::-1].copy(), (96, 64), fit)
    all_of_them = {"multi_label": False, "max_det": 10_000}
    (ours,) = nms(network(picture_input(framed)), 0.2, 0.45, **all_of_them)
    ours = ours.moved(geometry.to_image)
    assert len(found) > 3 and abs(len(found) - len(ours)) <= 0.02 * len(ours)
    near = 0
    for left, top, w, h, score, label in found:
        corners = np.clip([left, top, left + w, top + h], 0, [80, 60, 80, 60])
        apart = np.abs(ours.boxes_xyxy_px - corners).max(1)
        best = int(apart.argmin())
        near += apart[best] < 1 and abs(ours.scores[best] - score) < 0.02
        assert ours.classes[best] == label or apart[best] >= 1
    assert near >= 0.9 * len(found)


def test_files_that_are_none(here: Path) -> None:
    Path("bad.onnx").write_bytes(b"no such thing")
    for path, message in (("bad.onnx", "bad.onnx: is no ONNX file"), ("no.onnx", "no.onnx")):
        with pytest.raises(UserError, match=message):
            open_backend("opencv", Darknet("my.cfg"), path, CPU)
    network = loaded()
    save_onnx(network, here / "raw.onnx", OnnxOptions(network.img_size, raw=True), {})
    with pytest.raises(UserError, match="no graph from images to boxes"):
        open_backend("opencv", Darknet("my.cfg"), "raw.onnx", CPU)
