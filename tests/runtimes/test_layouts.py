"""Layouts of ONNX files, read as each family's programs read them, against our own decoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import export
import val
from models import Darknet
from tests.support.nets import conv, head, healthy_state, image, net
from tests.support.tiny_data import make_set
from utils.cfg import format_cfg
from utils.command.errors import UserError
from utils.command.optional import NEEDS, load, missing
from utils.runtimes.choose import open_backend
from utils.runtimes.onnx.export import OnnxOptions, onnx_metadata, save_onnx
from utils.runtimes.onnx.layouts import append_layout, as_in, rows_of

pytestmark = pytest.mark.skipif(bool(missing(NEEDS["onnx"])), reason="needs onnx, onnxruntime")

LAYOUTS = ("yolov5", "yolov8", "deepstream")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """my.cfg, my.weights, my.onnx in our own layout, my.data."""
    path = tmp_path_factory.mktemp("net")
    cfg = net(conv(8, stride=2), conv(8, stride=2), head(), width=64, height=96)
    (path / "my.cfg").write_text(format_cfg(cfg))
    model = Darknet(path / "my.cfg")
    model.load_state(healthy_state(model))
    model.save_weights(path / "my.weights")
    options = OnnxOptions(model.img_size, dynamic=True)
    save_onnx(model, path / "my.onnx", options, onnx_metadata(model, ("cat", "dog")))
    make_set(path, 4)
    (path / "my.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\n")
    return path


def boxes_of(layout: str, found: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners, best score and class of each box, as decoders of the family get them."""
    if layout == "yolov8":  # ultralytics: rows are columns, and there is no objectness
        found = found.transpose(0, 2, 1)
        scores = found[..., 4:]
    elif layout == "yolov5":
        scores = found[..., 5:] * found[..., 4:5]
    else:  # DeepStream-Yolo's parser
        return found[..., :4], found[..., 4], found[..., 5].astype(int)
    half = found[..., 2:4] / 2
    corners = np.concatenate([found[..., :2] - half, found[..., :2] + half], -1)
    return corners, scores.max(-1), scores.argmax(-1)


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_decoders_of_the_family_find_our_boxes(layout: str, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes((folder / "my.onnx").read_bytes())
    append_layout(path, layout)  # type: ignore[arg-type]
    session = load("onnxruntime").InferenceSession(str(path))
    names = [part.name for part in (*session.get_inputs(), *session.get_outputs())]
    assert names == (["input", "output"] if layout == "deepstream" else ["images", "output0"])
    model = Darknet(folder / "my.cfg", weights=folder / "my.weights").eval()
    for images in (image(model, batch=1), image(model, batch=2).repeat(1, 1, 1, 2)):
        (found,) = session.run(None, {names[0]: images.numpy()})
        ours = model(images).numpy()
        corners, score, label = boxes_of(layout, found)
        np.testing.assert_allclose(
            corners, boxes_of("yolov5", ours)[0], atol=1e-3 * np.abs(ours[..., :4]).max()
        )
        np.testing.assert_allclose(score, boxes_of("yolov5", ours)[1], atol=1e-5)
        scores = ours[..., 5:] * ours[..., 4:5]
        sure = np.abs(scores[..., 0] - scores[..., 1]) > 1e-4
        assert (label == scores.argmax(-1))[sure].all() and len(set(label[sure].tolist())) == 2
    # Our own commands go on with it.
    opened = open_backend("onnx", Darknet(folder / "my.cfg"), path, torch.device("cpu"))
    torch.testing.assert_close(opened(images), as_in(layout, model(images)), atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_left_of_rows_goes_through(layout: str) -> None:
    """Negative control for the comparison: other boxes, scores or classes are not lost on it."""
    rows = torch.tensor([[[50.0, 50, 20, 20, 0.9, 0.8, 0.1], [20, 20, 9, 9, 0.9, 0.1, 0.8]]])
    kept = as_in(layout, rows)
    for place, change in (((0, 0, 0), 3.0), ((0, 0, 4), -0.3), ((0, 1, 5), 0.85)):
        other = rows.clone()
        other[place] += change
        assert (as_in(layout, other) - kept).abs().max() > 0.05
    assert rows_of("rows", rows, 2) is rows


def test_as_a_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    model = ["--cfg", "my.cfg", "--weights", "my.weights"]
    flags = ["--layout", "yolov8", "--data", "my.data", "--output", "v8"]
    done = export.main([*model, *flags])
    assert done.agreement.difference < 1e-4 and done.agreement.moved == 0
    how = ["--data", "my.data", "--workers", "0"]
    plain = val.main([*model, *how])
    assert val.main(["--cfg", "my.cfg", "--weights", "v8.onnx", *how]).map == pytest.approx(
        plain.map, abs=1e-3
    )
    for other in (["--nms"], ["--format", "mnn"], ["--format", "darknet"]):
        with pytest.raises(UserError, match="--layout is for --format onnx without --nms"):
            export.main([*model, "--layout", "yolov5", "--output", "x", *other])
