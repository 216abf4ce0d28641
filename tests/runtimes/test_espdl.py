"""ESP-DL: what is refused, how the quantizer's process is asked, and the quantizer itself.

The last runs where ESPDL_PYTHON names an interpreter that has esp-ppq, or this one does.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import export
from tests.support.nets import conv, head, healthy, net, section
from tests.support.tiny_data import make_set
from utils.cfg import Cfg, format_cfg
from utils.command.errors import UserError
from utils.command.optional import NEEDS, missing
from utils.detection.options import Inputs
from utils.runtimes.espdl.operators import require_operators
from utils.runtimes.export.flags import read_options
from utils.runtimes.export.options import ExportOptions
from utils.runtimes.onnx.export import OnnxOptions, save_onnx

PYTHON = os.environ.get("ESPDL_PYTHON") or (sys.executable if find_spec("esp_ppq") else "")
needs_onnx = pytest.mark.skipif(bool(missing(NEEDS["onnx"])), reason="needs onnx, onnxruntime")
WORDS = ["--cfg", "my.cfg", "--weights", "my.weights", "--format", "espdl", "--output", "a"]
# A quantizer that rounds nothing: what it is asked and answers is what is tested. BIAS: of heads.
QUANTIZER = """
import shutil
def espdl_quantize_onnx(onnx_import_file, espdl_export_file, **rest):
    print("a banner")
    print(MESSAGE)
    assert rest["calib_steps"] == len(rest["calib_dataloader"]) and rest["target"] == "esp32s3"
    shutil.copyfile(onnx_import_file, espdl_export_file)
    return espdl_export_file
"""
EXECUTOR = """
import onnxruntime, torch
class TorchExecutor:
    def __init__(self, graph, device):
        self.session = onnxruntime.InferenceSession(graph)
    def __call__(self, image):
        assert image.shape[0] == 1
        heads = self.session.run(None, {"images": image.numpy()})
        return [torch.from_numpy(head) + BIAS for head in heads]
"""


def small(activation: str = "swish") -> Cfg:
    """Odd channels, an upsampling, a concatenation, a half of one, two pools."""
    return net(conv(9, stride=2, activation=activation), conv(11, stride=2),
               section("upsample", stride=2), section("route", layers="-1,0"),
               section("maxpool", size=2, stride=1), conv(8, stride=2),
               section("route", layers=-1, groups=2, group_id=1),
               section("maxpool", size=2, stride=2), head(), width=64, height=96)  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """my.cfg, my.weights and my.data in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("my.cfg").write_text(format_cfg(small()))
    healthy(small()).save_weights("my.weights")
    make_set(tmp_path, 4)
    Path("my.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\nnames=my.names\n")
    Path("my.names").write_text("cat\ndog\n", encoding="utf-8")
    return tmp_path


def python_with(folder: Path, message: str = "", bias: float = 0.0) -> str:
    """An interpreter that has a quantizer of ours under esp-ppq's name."""
    place = folder / "theirs" / "esp_ppq"
    place.mkdir(parents=True, exist_ok=True)
    (place / "__init__.py").write_text("")
    (place / "api.py").write_text(QUANTIZER.replace("MESSAGE", repr(message)))
    (place / "executor.py").write_text(EXECUTOR.replace("BIAS", str(bias)))
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={place.parent} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return "./python"


def run(python: str, *more: str) -> Any:
    """export.py on what `here` has."""
    return export.main([*WORDS, "--data", "my.data", "--espdl-python", python, *more])


def left() -> list[str]:
    """What an export left in the current folder."""
    return sorted(path.name for path in Path().glob("a.*"))


def test_flags_that_do_not_go_together() -> None:
    inputs = Inputs("a.cfg", "a/best.pt")
    with pytest.raises(UserError, match="--chip is for --format espdl"):
        ExportOptions(inputs, chip="esp32p4")
    with pytest.raises(UserError, match="name a data set with --data"):
        ExportOptions(inputs, "espdl")
    for wrong in ("int8", "half", "dynamic"):
        with pytest.raises(UserError, match="in 8 bits as it is"):
            ExportOptions(inputs, "espdl", data="my.data", **{wrong: True})
    with pytest.raises(UserError, match="--layout is for"):
        ExportOptions(inputs, "espdl", data="my.data", layout="yolov8")
    with pytest.raises(UserError, match="--espdl-python is for --format espdl"):
        read_options("", ["--weights", "a.pt", "--format", "onnx", "--espdl-python", "python3"])
    with pytest.raises(UserError, match="--ultralytics-python is for --format ultralytics"):
        words = ["--weights", "a.pt", "--format", "espdl", "--data", "a.data"]
        read_options("", [*words, "--ultralytics-python", "python3"])


@pytest.mark.skipif(find_spec("esp_ppq") is not None, reason="esp-ppq is installed here")
def test_without_the_quantizer(here: Path) -> None:
    with pytest.raises(UserError, match=r"pip install torch esp-ppq .*--espdl-python"):
        export.main([*WORDS, "--data", "my.data"])
    if missing(NEEDS["onnx"]):
        return
    with pytest.raises(UserError, match=r"No module named 'esp_ppq' \(pip install"):
        run(sys.executable)
    assert left() == []


@needs_onnx
@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([conv(8, activation="leaky"), conv(8, groups=8), conv(8, activation="swish")], ""),
        ([conv(8, activation="mish")], r"net\.cfg: ESP-DL has no Mish: .*--replace-activation"),
        ([conv(8, activation="hard_mish")], "ESP-DL has no Where"),
        ([conv(8), conv(8, groups=2)], "groups=2: ESP-DL knows one group"),
        ([conv(8), conv(16, groups=8)], "groups=8"),
    ],
)
def test_what_the_chip_cannot_run(tmp_path: Path, layers: list[str], said: str) -> None:
    network, path = healthy(net(*layers, head())), tmp_path / "a.onnx"
    save_onnx(network, path, OnnxOptions(network.img_size, raw=True), {})
    with pytest.raises(UserError, match=said) if said else nullcontext():
        require_operators(path, "net.cfg")


@needs_onnx
def test_the_simulation_is_compared_and_scored(here: Path) -> None:
    done = run(python_with(here), "--chip", "esp32s3")
    assert done.files == (Path("a.espdl"), Path("a.espdl.json")) and left() == [
        "a.espdl", "a.espdl.json",
    ]  # fmt: skip
    assert done.agreement.difference < 1e-4 and done.agreement.moved == 0
    names = [name for name, _ in done.worth]
    assert names == ["float32 (PyTorch)", "int8 (espdl for esp32s3, simulated)"]
    assert done.worth[0][1].map50 == pytest.approx(done.worth[1][1].map50, abs=1e-6)
    told = json.loads(Path("a.espdl.json").read_text())
    assert told["chip"] == "esp32s3" and json.loads(told["names"]) == ["cat", "dog"]
    assert json.loads(told["preprocessing"])["layout"] == "NHWC"
    # Negative control: heads that are something else are seen as that.
    with pytest.raises(UserError, match="is there already"):
        run(python_with(here, bias=0.5), "--chip", "esp32s3")
    other = run(python_with(here, bias=0.5), "--chip", "esp32s3", "--force")
    assert other.agreement.difference > 0.1 and other.agreement.moved > 0


@needs_onnx
def test_where_the_quantizer_fails(here: Path) -> None:
    """Its own message about a file that the chip cannot compute; then an exception."""
    colours = "\x1b[38;5;1m[ERROR][ESPDL][2026-11-28 11:13:39]:  \x1b[mwill cause an exception"
    with pytest.raises(UserError, match="esp-ppq: will cause an exception"):
        run(python_with(here, colours), "--chip", "esp32s3")
    with pytest.raises(UserError, match="cannot hold or run it: AssertionError"):
        run(python_with(here), "--chip", "esp32p4")
    assert left() == []


@pytest.mark.slow
@needs_onnx
@pytest.mark.skipif(not PYTHON, reason="no interpreter with esp-ppq")
def test_the_quantizer_itself(here: Path) -> None:
    files = []
    for chip in ("esp32p4", "esp32s3"):
        done = run(PYTHON, "--chip", chip, "--force", "--calibration-images", "4")
        files.append(Path("a.espdl").read_bytes())
        assert files[-1].startswith(b"EDL2") and chip.encode() in files[-1]
        # In 8 bits: near the float network, and (negative control) not it.
        assert 1e-4 < done.agreement.difference < 0.3
    assert files[0] != files[1]
    Path("my.cfg").write_text(format_cfg(small("mish")))
    with pytest.raises(UserError, match="ESP-DL has no Mish"):
        run(PYTHON, "--force")
