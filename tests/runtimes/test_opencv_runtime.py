"""utils/runtimes/opencv.py against our own forward pass and against Darknet's golden vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models import Darknet
from tests.support.installed.opencv_version import needs_cfg_importer
from tests.support.nets import conv, healthy_state, net, section
from utils.cfg import format_cfg
from utils.command.errors import UserError
from utils.runtimes.opencv import OpenCVDarknet

LAST = conv(14, 1, batch_normalize=None, activation="linear")
YOLO = {"anchors": "8,9, 10,14, 16,30, 33,23", "classes": 2, "num": 4}
CFG = format_cfg(
    net(
        conv(8, stride=2, activation="mish"),
        conv(8, groups=8),
        section("dropout", probability=0.1),
        section("shortcut", frm=-3, activation="linear"),
        section("maxpool", size=2, stride=2),
        LAST,
        section("yolo", mask="2,3", **YOLO, scale_x_y=1.05, thresh=0.6, nms_threshold=0.4),
        section("route", layers=4),
        section("upsample", stride=2),
        section("route", layers="-1,0"),
        LAST,
        section("yolo", mask="0,1", **YOLO),
        width=64,
        height=96,
    )
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small random net with two heads; its variances are small, so that the epsilon shows."""
    folder = tmp_path_factory.mktemp("net")
    (folder / "net.cfg").write_text(CFG)
    torch.manual_seed(0)
    model = Darknet(folder / "net.cfg")
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.01, 0.1)
            else:
                tensor.normal_(std=0.3)
    model.save_weights(folder / "net.weights")
    return folder / "net.cfg", folder / "net.weights"


def random_images(batch: int = 2, height: int = 96, width: int = 64) -> Tensor:
    """(batch, 3, height, width) in 0..1."""
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.random((batch, 3, height, width), dtype=np.float32))


def largest_error(a: Tensor, b: Tensor) -> float:
    """Largest difference as a share of the largest number of b."""
    return float((a - b).abs().max() / b.abs().max())


@needs_cfg_importer
@pytest.mark.parametrize(("batch", "height", "width"), [(1, 96, 64), (3, 96, 64), (2, 64, 128)])
@torch.no_grad()
def test_equals_our_forward(files: tuple[Path, Path], batch: int, height: int, width: int) -> None:
    model = Darknet(files[0]).load_weights(files[1]).eval()
    images = random_images(batch, height, width)
    runtime = OpenCVDarknet(*files, bn_epsilon_fix=True)
    found, expected = runtime(images), model(images)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    for ours, theirs in zip(model.raw_heads(images), runtime.head_outputs(images), strict=True):
        assert ours.shape == theirs.shape
        assert largest_error(theirs, ours) < 1e-5
    # The same numbers at the wrong place, or of another image, would be far away.
    assert largest_error(found, model(images.flip(3))) > 1e-2
    assert largest_error(found.flip(1), expected) > 1e-2


@needs_cfg_importer
@torch.no_grad()
def test_epsilon_shows_without_the_fix(files: tuple[Path, Path]) -> None:
    images = random_images()
    raw = Darknet(files[0]).load_weights(files[1]).eval().raw_heads(images)
    plain = OpenCVDarknet(*files).head_outputs(images)
    assert 5e-5 < max(largest_error(a, b) for a, b in zip(plain, raw, strict=True)) < 1e-2


@needs_cfg_importer
def test_results_outlive_the_next_call(files: tuple[Path, Path]) -> None:
    runtime = OpenCVDarknet(*files)
    first = runtime(random_images())
    raw = runtime.head_outputs(random_images())
    copies = [first.clone(), *(out.clone() for out in raw)]
    runtime(random_images().flip(2))
    runtime.head_outputs(random_images().flip(2))
    assert all(torch.equal(a, b) for a, b in zip((first, *raw), copies, strict=True))


@needs_cfg_importer
def test_cfgs_that_opencv_cannot_run(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "odd.cfg").write_text(CFG.replace("activation=mish", "activation=gelu"))
    with pytest.raises(UserError, match="cannot import"):
        OpenCVDarknet(tmp_path / "odd.cfg", files[1])
    (tmp_path / "plain.cfg").write_text(CFG.split("[yolo]")[0])
    model = Darknet(tmp_path / "plain.cfg")
    model.save_weights(tmp_path / "plain.weights")
    with pytest.raises(UserError, match=r"no \[yolo\]"):
        OpenCVDarknet(tmp_path / "plain.cfg", tmp_path / "plain.weights")
    with pytest.raises(UserError, match="cannot run"):
        OpenCVDarknet(*files)(random_images(height=30, width=30))


@needs_cfg_importer
@torch.no_grad()
def test_batches_of_what_opencv_takes_one_by_one(tmp_path: Path) -> None:
    """[scale_channels], which OpenCV 4 multiplies for a batch of one alone."""
    gate = [section("avgpool"), conv(8, 1, activation="logistic"),
            section("scale_channels", frm=-3, activation="linear")]  # fmt: skip
    cfg = net(
        conv(8, stride=2), *gate, LAST, section("yolo", mask="0,1", **YOLO), width=64, height=64
    )
    (tmp_path / "a.cfg").write_text(format_cfg(cfg))
    model = Darknet(tmp_path / "a.cfg").eval()
    model.load_state(healthy_state(model))
    model.save_weights(tmp_path / "a.weights")
    runtime = OpenCVDarknet(tmp_path / "a.cfg", tmp_path / "a.weights", bn_epsilon_fix=True)
    images = random_images(batch=3, height=64)
    torch.testing.assert_close(runtime(images), model(images), atol=1e-3, rtol=1e-4)
    for ours, theirs in zip(model.raw_heads(images), runtime.head_outputs(images), strict=True):
        assert largest_error(theirs, ours) < 1e-5


@needs_cfg_importer
def test_a_reason_is_of_this_call(files: tuple[Path, Path], tmp_path: Path) -> None:
    """cv2.error's own fields lie on its class, and tell of another call or nothing."""
    kept = []
    for activation in ("gelu", "stair"):
        (tmp_path / "odd.cfg").write_text(CFG.replace("=mish", f"={activation}"))
        with pytest.raises(UserError, match=rf"cannot import it \(.*{activation}") as caught:
            OpenCVDarknet(tmp_path / "odd.cfg", files[1])
        kept.append(str(caught.value))
    first = net(section("dropout"), conv(8, stride=2), LAST, section("yolo", mask="0,1", **YOLO))
    (tmp_path / "first.cfg").write_text(format_cfg(first))
    Darknet(tmp_path / "first.cfg").save_weights(tmp_path / "first.weights")
    with pytest.raises(UserError, match="cannot import it") as caught:
        OpenCVDarknet(tmp_path / "first.cfg", tmp_path / "first.weights")
    assert "None" not in str(caught.value) and "stair" not in str(caught.value)


@needs_cfg_importer
@pytest.mark.parametrize("fix", [True, False])
def test_weights_that_do_not_fit(files: tuple[Path, Path], tmp_path: Path, fix: bool) -> None:
    content = files[1].read_bytes()
    for change, message in (
        (content[:-8], "2 numbers are missing"),
        (content + b"1234", "left over"),
    ):
        (tmp_path / "bad.weights").write_bytes(change)
        with pytest.raises(UserError, match=message):
            OpenCVDarknet(files[0], tmp_path / "bad.weights", bn_epsilon_fix=fix)
    torch.save({"model": {}}, tmp_path / "x.pt")
    with pytest.raises(UserError, match="convert"):
        OpenCVDarknet(files[0], tmp_path / "x.pt", bn_epsilon_fix=fix)


def test_opencv_5_has_no_importer(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.runtimes.needs.opencv_version", lambda: "5.1.0")
    with pytest.raises(UserError, match=r"OpenCV 5.1.0 cannot read .* --format onnx .*<5"):
        OpenCVDarknet(*files)


@needs_cfg_importer
@pytest.mark.parametrize(
    "name", ["yolo-fastest-1.1", "yolo-fastest-1.1-xl", "yolo-fastest-1.1_body"]
)
@torch.no_grad()
def test_equals_darknet_on_real_weights(shared: Path, name: str) -> None:
    stem = shared / "weights/yolo-fastest" / name
    golden = np.load(shared / f"golden/real/{name}.npz")
    pixels = np.load(shared / "golden/real/inputs.npz")["dog_resize"]
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    runtime = OpenCVDarknet(f"{stem}.cfg", f"{stem}.weights", bn_epsilon_fix=True)
    heads = Darknet(f"{stem}.cfg").heads
    for head, raw in zip(heads, runtime.head_outputs(images), strict=True):
        expected = torch.from_numpy(golden[f"dog_resize_head_{head.index}"]).reshape(raw.shape)
        assert largest_error(head.activate(raw), expected) < 2e-5
        assert largest_error(head.activate(raw.flip(3)), expected) > 1e-2
