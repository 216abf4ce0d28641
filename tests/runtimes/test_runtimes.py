"""Every runtime that is installed computes what PyTorch does; the files say what they hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import compare
import export
from models import Darknet
from tests.support.nets import conv, head, healthy_state, image, net, section
from tests.support.tiny_data import make_set
from utils.cfg import Cfg, format_cfg
from utils.command import optional
from utils.command.errors import UserError
from utils.command.optional import NEEDS, missing
from utils.runtimes.agreement import compare_outputs, largest_difference
from utils.runtimes.choose import open_backend
from utils.runtimes.options import BACKENDS, FORMATS

CPU = torch.device("cpu")


def needs(backend: str) -> None:
    absent = missing(NEEDS[backend])
    if absent:
        pytest.skip(f"needs {', '.join(absent)} (pip install them; pyproject.toml: export)")


def write_model(folder: Path, cfg: Cfg) -> tuple[Path, Path]:
    (folder / "net.cfg").write_text(format_cfg(cfg))
    network = Darknet(folder / "net.cfg")
    network.load_state(healthy_state(network))
    network.save_weights(folder / "net.weights")
    return folder / "net.cfg", folder / "net.weights"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two heads, a padded pooling, a residual, a grouped route, an upsampling."""
    cfg = net(
        conv(8, stride=2, activation="mish"), conv(8, activation="swish"),
        section("shortcut", frm=-2, activation="linear"),
        section("maxpool", size=2, stride=1), section("maxpool", size=2, stride=2),
        conv(8), head(scale_x_y=1.05), section("route", layers=5),
        section("route", layers=-1, groups=2, group_id=1), section("upsample", stride=2),
        section("route", layers="-1,2"), head(),
        width=64, height=96,
    )  # fmt: skip
    return write_model(tmp_path_factory.mktemp("net"), cfg)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_set(folder, 6)
    (folder / "my.names").write_text("cat\ndog\n")
    (folder / "my.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\nnames=my.names\n")
    return folder / "my.data"


def expected(cfg: Path, weights: Path, images: Tensor) -> Tensor:
    with torch.no_grad():
        boxes: Tensor = Darknet(cfg).load_weights(weights).eval()(images)
    return boxes


@pytest.mark.parametrize("backend", ["torch", "opencv", *(
    pytest.param(name, marks=() if name == "onnx" else pytest.mark.slow)
    for name in FORMATS
)])  # fmt: skip
def test_backends_compute_the_same(backend: str, model: tuple[Path, Path]) -> None:
    needs(backend)
    network = Darknet(model[0])
    images = image(network, batch=3)
    want = expected(*model, images)
    predict = open_backend(backend, network, model[1], CPU)
    with torch.no_grad():
        found = predict(images)
    # OpenCV's epsilon is another one, and the weights are not made for it.
    assert largest_difference(found, want) < (2e-3 if backend == "opencv" else 2e-5)
    # Negative control: another image, or the rows of another one, is far away.
    assert largest_difference(found.flip(0), want) > 2e-2
    assert largest_difference(found.flip(1), want) > 2e-2


def test_checkpoints_run_in_opencv(model: tuple[Path, Path], tmp_path: Path) -> None:
    network = Darknet(model[0]).load_weights(model[1])
    text = model[0].read_text()
    torch.save({"format": 1, "cfg": text, "model": network.state_dict()}, tmp_path / "net.pt")
    images = image(network)
    found = open_backend("opencv", Darknet(model[0]), tmp_path / "net.pt", CPU)(images)
    assert largest_difference(found, expected(*model, images)) < 2e-5  # by bn_epsilon="any"


def test_onnx_file_holds_what_its_user_needs(
    model: tuple[Path, Path], data: Path, root: Path
) -> None:
    """Dynamic, so that one export shows sizes and batches too."""
    needs("onnx")
    onnx = optional.load("onnx")
    out = model[1].with_name("any")
    flags = ["--cfg", str(model[0]), "--weights", str(model[1]), "--data", str(data)]
    done = export.main([*flags, "--dynamic", "--output", str(out)])
    assert done.agreement.difference < 1e-4 and done.agreement.moved == 0
    assert done.files == (out.with_suffix(".onnx"),)
    content = onnx.load(str(done.files[0]))
    told = {entry.key: entry.value for entry in content.metadata_props}
    assert json.loads(told["names"]) == ["cat", "dog"]
    assert json.loads(told["preprocessing"])["fit"] == "stretch"
    assert [entry["stride_px"] for entry in json.loads(told["heads"])] == [4, 2]
    assert json.loads(told["heads"])[0]["anchors_px"] == [[6, 5], [14, 12]]
    assert [(entry.domain, entry.version) for entry in content.opset_import] == [("", 18)]
    assert str(root) not in str(content)  # no path of this machine
    for batch, height, width in ((1, 96, 64), (3, 64, 128)):
        images = torch.rand(batch, 3, height, width)
        found = open_backend("onnx", Darknet(model[0]), done.files[0], CPU)(images)
        assert largest_difference(found, expected(*model, images)) < 2e-5
    with pytest.raises(UserError, match="is there already"):
        export.main([*flags, "--dynamic", "--output", str(out)])
    with pytest.raises(UserError, match=r"not ncnn|ncnn needs ncnn, not installed"):
        open_backend("ncnn", Darknet(model[0]), done.files[0], CPU)


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ["--format", "openvino"],
        ["--format", "openvino", "--half"],
        ["--format", "openvino", "--dynamic"],
        ["--format", "ncnn"],
        ["--format", "ncnn", "--half"],
        ["--format", "onnx", "--half"],
        ["--format", "mnn"],
        ["--format", "mnn", "--half"],
        ["--format", "mnn", "--int8"],
        ["--format", "litert"],
        ["--format", "litert", "--half"],
        ["--format", "litert", "--int8"],
        ["--format", "executorch"],
        ["--format", "executorch", "--int8"],
        ["--format", "onnx", "--nms", "--conf-thres", "0.1"],
        ["--format", "onnx", "--int8"],
        ["--format", "openvino", "--int8"],
    ],
    ids=" ".join,
)
def test_every_format(
    flags: list[str], model: tuple[Path, Path], data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    needs(flags[1])
    if "--int8" in flags and missing(optional.INT8_NEEDS[flags[1]]):
        pytest.skip("needs nncf")
    files = ["--cfg", str(model[0]), "--weights", str(model[1]), "--data", str(data)]
    done = export.main([*files, *flags, "--output", str(tmp_path / "net")])
    assert all(path.is_file() for path in done.files)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in done.files}
    if "--int8" in flags:
        # Close, but by its nature not equal: were it equal, nothing was quantized.
        assert 1e-4 < done.agreement.difference < 1
        assert "int8" in capsys.readouterr().out
    else:
        assert done.agreement.boxes > 0


def test_a_wrong_export_is_not_put_in_place(
    model: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_other(network: Darknet, path: Path, *rest: object) -> None:
        path.write_bytes(b"")

    def off_by_a_little(kind: str, stem: Path, network: Darknet) -> object:
        return lambda images: network.eval()(images) * 1.002

    monkeypatch.setattr("utils.runtimes.files.save_onnx", save_other)
    monkeypatch.setattr("utils.runtimes.export.check.open_file", off_by_a_little)
    monkeypatch.setattr("utils.runtimes.export.options.require", lambda *rest: None)
    flags = ["--cfg", str(model[0]), "--weights", str(model[1])]
    with pytest.raises(UserError, match=r"not written, since .* differs from PyTorch"):
        export.main([*flags, "--output", str(tmp_path / "net")])
    assert not list(tmp_path.iterdir())


def test_agreement_sees_what_differs() -> None:
    rows = torch.tensor([[[50.0, 50, 20, 20, 0.9, 0.8, 0.1], [20, 20, 9, 9, 0.9, 0.1, 0.8]]])
    same = compare_outputs(rows, rows)
    assert (same.difference, same.boxes, same.moved) == (0.0, 2, 0)
    for change, column in ((3.0, 0), (-0.2, 4), (0.8, 6)):
        other = rows.clone()
        other[0, 0, column] += change
        assert compare_outputs(other, rows).moved == 1
    assert largest_difference(rows * torch.nan, rows) == float("inf")
    assert largest_difference(rows[:, :1], rows) == float("inf")
    # A small score beside large boxes counts by its own kind's size.
    off = rows.clone()
    off[0, 0, 4] -= 0.09
    assert largest_difference(off, rows) == pytest.approx(0.1, rel=1e-4)


def test_what_is_not_installed_is_said(
    model: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("utils.command.optional.importlib.util.find_spec", lambda name: None)
    flags = ["--cfg", str(model[0]), "--weights", str(model[1])]
    with pytest.raises(UserError, match="needs onnx, onnxscript, onnxruntime, not installed"):
        export.main(flags)
    for backend in FORMATS:
        with pytest.raises(UserError, match=f"runtime {backend} needs"):
            open_backend(backend, Darknet(model[0]), model[1], CPU)
    with pytest.raises(UserError, match="none of them is installed"):
        compare.main(["--models", f"{model[0]},{model[1]}", "--runtimes", "onnx,ncnn"])
    assert "onnx: left out; pip install onnx onnxscript onnxruntime" in capsys.readouterr().out


def test_wrong_flags_are_one_line(model: tuple[Path, Path], data: Path, tmp_path: Path) -> None:
    cfg, weights = map(str, model)
    other = tmp_path / "other.data"
    (tmp_path / "my.names").write_text("a\nb\nc\n")
    other.write_text(data.read_text().replace("classes=2", "classes=3"))
    for flags, message in (
        (["--int8"], "name a data set"),
        (["--int8", "--half", "--data", str(data)], "does not go with"),
        (["--format", "ncnn", "--dynamic"], "knows neither"),
        (["--format", "mnn", "--dynamic"], "is for one size"),
        (["--format", "openvino", "--nms"], "is for --format onnx"),
    ):
        with pytest.raises(UserError, match=message):
            export.main(["--cfg", cfg, "--weights", weights, *flags])
    pair = f"{cfg},{weights}"
    for flags, message in (
        (["--models", pair, "--runtimes", "tpu"], "choose of"),
        (["--models", cfg], "expected CFG,WEIGHTS"),
        (["--models", pair, pair], "net is named twice"),
        (["--models", pair, "--data", str(other)], "has 3 classes"),
    ):
        with pytest.raises(UserError, match=message):
            compare.main([*flags, *([] if "--runtimes" in flags else ["--runtimes", "torch"])])


def test_backends_are_documented(root: Path) -> None:
    text = (root / "docs/runtimes.md").read_text()
    assert all(name in text.lower() for name in BACKENDS[1:])
