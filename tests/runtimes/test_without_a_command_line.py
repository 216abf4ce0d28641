"""Evaluation, detection, export and comparison as functions: options in, plain values out."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import torch

import detect
import export
import report
import slim_prune
import val
from models import Darknet
from tests.support.installed.opencv_version import READS_CFG
from tests.support.nets import conv, head, healthy_state, net
from tests.support.tiny_data import make_set, write_image
from utils.cfg import format_cfg
from utils.command.errors import UserError
from utils.command.files import sha256
from utils.command.machine.timing import Latency
from utils.command.optional import NEEDS, missing
from utils.data.darknet_files import load_data_file
from utils.detection.options import Inputs, Scoring
from utils.detection.score import score
from utils.network.cost import count_parameters
from utils.network.darknet import Network
from utils.network.weights import checkpoint_content
from utils.runtimes.choose import torch_backend
from utils.runtimes.compare.options import CompareOptions
from utils.runtimes.compare.results import Measured
from utils.runtimes.compare.run import compare_models
from utils.runtimes.demo.results import stages_table, verdict
from utils.runtimes.demo.run import measure_stages, save_before_after
from utils.runtimes.demo.stages import Stage
from utils.runtimes.detect.options import DetectOptions, Keep
from utils.runtimes.detect.run import detect_files
from utils.runtimes.export.options import ExportOptions
from utils.runtimes.export.run import checked_images, export_model
from utils.runtimes.options import Backend, NmsOptions
from utils.runtimes.val.options import ValOptions
from utils.runtimes.val.run import evaluate_files


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """my.cfg, my.weights, and my.data with six pictures, in the working directory.

    The labels are some of what the network finds, so that it scores something.
    """
    monkeypatch.chdir(tmp_path)
    cfg = net(conv(8, stride=2), conv(8, stride=2), head(nms_kind="greedynms"))
    Path("my.cfg").write_text(format_cfg(cfg))
    network = Darknet("my.cfg")
    network.load_state(healthy_state(network))
    network.save_weights("my.weights")
    make_set(tmp_path, 6)
    Path("my.names").write_text("cat\ndog\n")
    Path("my.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\nnames=my.names\n")
    first = DetectOptions(INPUTS, "images", output="first", keep=Keep(txt=True))
    for found in (detect_files(first, Darknet).folder / "labels").iterdir():
        lines = [line.rsplit(" ", 1)[0] for line in found.read_text().splitlines()]
        (tmp_path / "labels" / found.name).write_text("\n".join(lines[:5]))
    return tmp_path


INPUTS = Inputs("my.cfg", "my.weights")


def test_evaluation(here: Path) -> None:
    metrics = evaluate_files(ValOptions(INPUTS, Scoring("my.data", workers=0)), Darknet)
    words = ["--cfg", "my.cfg", "--weights", "my.weights", "--data", "my.data", "--workers", "0"]
    same = val.main(words)
    assert replace(metrics, seconds=same.seconds) == same
    assert metrics.images == 6 and metrics.targets == 30 and 0.1 < metrics.map < 1
    # The same by the parts that it is made of.
    network = Darknet("my.cfg", weights="my.weights")
    how = Scoring(workers=0)
    parts = score(torch_backend(network), load_data_file("my.data"), network, how, progress=False)
    assert replace(parts, seconds=same.seconds) == same
    # Another question has another answer.
    wide = ValOptions(replace(INPUTS, img_size=(64, 64)), Scoring("my.data", workers=0))
    assert evaluate_files(wide, Darknet).map != metrics.map


def test_evaluation_keeps_what_it_found(here: Path) -> None:
    options = ValOptions(INPUTS, Scoring("my.data", workers=0), max_det=3, save_json="found.json")
    evaluate_files(options, Darknet)
    rows = json.loads(Path("found.json").read_text())
    assert 0 < len(rows) <= 3 * 6
    assert {row["category_id"] for row in rows} <= {0, 1}


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"half": True}, "--half needs a GPU"),
        ({"half": True, "backend": "opencv"}, "opencv runs float32"),
        ({"save_json": "no/such/folder/x.json"}, "does not exist"),
        ({"scoring": Scoring("one.data", workers=0)}, "has 1 classes, but my.cfg is made for 2"),
        ({"scoring": Scoring("list.data", workers=0)}, "has no 'valid=' line"),
    ],
)
def test_evaluation_says_what_does_not_fit(
    here: Path, named: dict[str, object], message: str
) -> None:
    Path("one.data").write_text("classes=1\nvalid=list.txt\n")
    Path("list.data").write_text("classes=2\ntrain=list.txt\n")
    given = {"scoring": Scoring("my.data", workers=0, device="cpu"), **named}
    with pytest.raises(UserError, match=message):
        evaluate_files(ValOptions(INPUTS, **given), Darknet)  # type: ignore[arg-type]


def test_detection(here: Path) -> None:
    tally = detect_files(DetectOptions(INPUTS, "images"), Darknet)
    assert (tally.sources, tally.frames, tally.names) == (6, 6, ("0", "1"))
    assert tally.folder == Path("runs/detect/images")
    assert len(list(tally.folder.iterdir())) == 6
    # As the command does with the same words.
    options = DetectOptions(
        INPUTS, "images", "my.names", "out", 0.3, keep=Keep(txt=True, json=True)
    )
    ours = detect_files(options, Darknet)
    words = ["--cfg", "my.cfg", "--weights", "my.weights", "--source", "images"]
    theirs = detect.main([*words, "--names", "my.names", "--conf-thres", "0.3", "--save-txt"])
    assert ours.found == theirs.found and ours.found.total() > 0
    labels = [
        sorted(path.read_text() for path in (each.folder / "labels").iterdir())
        for each in (ours, theirs)
    ]
    assert labels[0] == labels[1]
    # The names may be those of a data set of any form.
    Path("set").mkdir()
    Path("set/my.data").write_text("classes=2\nvalid=../list.txt\nnames=../my.names\n")
    named = detect.main([*words, "--data", "set", "--conf-thres", "0.3", "--name", "named"])
    assert named.folder == Path("runs/detect/named")
    assert named.names == tuple(Path("my.names").read_text().split())
    assert (Path("out") / "detections.json").is_file()


def test_export(here: Path) -> None:
    if missing(NEEDS["onnx"]):
        pytest.skip("needs onnx, onnxscript, onnxruntime")
    done = export_model(ExportOptions(INPUTS), Darknet)
    assert done.files == (Path("my.onnx"),)
    assert done.agreement.difference < 1e-3 and done.checked == 1 and done.worth == ()
    with pytest.raises(UserError, match="is there already"):
        export_model(ExportOptions(INPUTS), Darknet)
    scoring = Scoring("my.data", workers=0)
    onnx, torch_ = (
        evaluate_files(ValOptions(inputs, scoring, backend=backend), Darknet)
        for inputs, backend in ((Inputs("my.cfg", "my.onnx"), "onnx"), (INPUTS, "torch"))
    )
    assert onnx.map == pytest.approx(torch_.map, abs=1e-3)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"int8": True}, "name a data set"),
        ({"int8": True, "data": "my.data", "half": True}, "does not go with"),
        ({"format": "ncnn", "dynamic": True}, "knows neither"),
        ({"format": "openvino", "nms": NmsOptions()}, "is for --format onnx"),
    ],
)
def test_what_cannot_be_exported(named: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ExportOptions(INPUTS, **named)  # type: ignore[arg-type]


def test_names_of_an_export() -> None:
    inputs = Inputs("my.cfg", "weights/best.pt")
    assert ExportOptions(inputs).stem == Path("weights/best")
    assert ExportOptions(inputs, half=True).stem == Path("weights/best-half")
    assert ExportOptions(inputs, int8=True, data="my.data").stem == Path("weights/best-int8")
    assert ExportOptions(inputs, half=True, output="out/x").stem == Path("out/x")


def test_comparison(
    here: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # The fresh process must find models.py, as it does where a script of the repository started it.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))
    options = CompareOptions((INPUTS,), "my.data", ("torch", "opencv"), 1, runs=2, output="kept")
    rows = compare_models(options, Darknet)
    assert [str(row).split(":")[0] for row in rows] == ["my in torch", "my in opencv"]
    for row in rows:
        assert isinstance(row.result, Measured), row.result
        assert row.result.median_ms > 0 and row.result.file_bytes > 1000
        assert row.result.map50 is not None and row.result.map50 > 0.1
    kept = sorted(path.name for path in Path("kept").iterdir())
    assert kept == ["compare.csv", "compare.html", "compare.png"]
    page = Path("kept/compare.html").read_text(encoding="utf-8")
    assert "<td>my</td><td>torch</td>" in page and "<td>my</td><td>opencv</td>" in page
    assert "<svg" in page and "KB of the file" in page and "<script" not in page
    # A place that is taken is told before anything is measured.
    with pytest.raises(UserError, match="--output kept: holds other files"):
        compare_models(options, Darknet)
    with pytest.raises(UserError, match="choose of"):
        CompareOptions((INPUTS,), runtimes=("tpu",))


def test_stages_of_the_demo(here: Path) -> None:
    """The same model twice: both runtimes agree, and the two rows of the picture are equal."""
    stage = Stage("only", Path("my.cfg"), Path("my.weights"))
    found, again = measure_stages([stage, stage], Path("my.data"), Darknet)
    assert found.opencv_ms == again.opencv_ms  # one structure, one time
    assert found.torch.map50 > 0.1
    assert found.opencv.map50 == pytest.approx(found.torch.map50, abs=1e-3)
    assert 0 < found.head_difference < 1e-2
    assert found.parameters == count_parameters(Darknet("my.cfg").rules)
    assert "only" in stages_table([found])
    assert "within their spread" in verdict(found, again, 60)
    slow, quick = Latency(9, 8, 10), Latency(3, 2, 4)
    before, after = (replace(found, opencv_ms=time) for time in (slow, quick))
    assert "OpenCV runs it 3.0 times as fast" in verdict(before, after, 60)
    # Four pictures of different sizes, each with three objects.
    for number in range(4):
        cv2.imwrite(f"{number}.png", np.full((32 + number, 50, 3), 60 * number, np.uint8))
        Path(f"{number}.txt").write_text("0 .3 .3 .2 .2\n1 .7 .7 .2 .2\n0 .7 .3 .2 .2\n")
    Path("four.txt").write_text("".join(f"{number}.png\n" for number in range(4)))
    Path("four.data").write_text("classes=2\nvalid=four.txt\nnames=my.names\n")
    said = save_before_after(Path("both.png"), found, again, Path("four.data"), Darknet)
    assert "12 objects in 4 images" in said
    before, after = re.findall(r"\d+ met, \d+ false", said)
    assert before == after
    picture = cv2.imread("both.png")
    assert picture is not None and picture.shape[1] > picture.shape[0]


@pytest.mark.parametrize("backend", ["torch", "opencv"])
def test_weights_that_hold_nan_are_refused_wherever_they_run(here: Path, backend: Backend) -> None:
    network = Darknet("my.cfg").load_weights("my.weights")
    next(iter(network.state_dict().values()))[0] = float("nan")
    network.save_weights("nan.weights")
    inputs = replace(INPUTS, weights="nan.weights")
    refused = "nan.weights: .* not finite numbers"
    with pytest.raises(UserError, match=refused):
        evaluate_files(ValOptions(inputs, Scoring("my.data", workers=0), backend=backend), Darknet)
    with pytest.raises(UserError, match=refused):
        detect_files(DetectOptions(inputs, "images", backend=backend), Darknet)
    with pytest.raises(UserError, match=refused):
        export_model(ExportOptions(inputs, "onnx"), Darknet)


def test_a_page_from_the_first_network_to_the_last(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slim_prune.main(
        ["--weights", "my.weights", "--global-percent", "30%", "--name", "cut", "--data", "my.data"]
    )
    said = capsys.readouterr().out
    assert "Wrote runs/prune/cut/cut.cfg" in said
    assert "--weights runs/prune/cut/cut.weights --data my.data --t-cfg my.cfg" in said
    flags = ["--models", "my.weights", "runs/prune/cut/cut.weights", "--workers", "0"]
    page = report.main([*flags, "--data", "my.data", "--output", "page"])
    text = page.read_text("utf-8")
    assert page == Path("page/report.html")
    assert "my to cut" in text and text.count("data:image/jpeg") == 2 * text.count('class="pair"')
    assert re.search(r"before: \d+ of 5 objects, \d+ false", text)
    for path in ("my.cfg", "my.weights", "runs/prune/cut/cut.weights"):
        assert sha256(path) in text
    with pytest.raises(UserError, match="--output page: holds other files"):
        report.main([*flags, "--output", "page"])
    with pytest.raises(UserError, match="name two at least"):
        report.main(["--models", "my.weights", "--output", "other"])


def test_the_pair_for_darknet_and_opencv(here: Path) -> None:
    for kind in ("darknet", "opencv") if READS_CFG else ("darknet",):
        flags = ["--weights", "my.weights", "--format", kind, "--output", kind]
        done = export.main([*flags, "--data", "my.data"])
        assert done.files == (Path(f"{kind}.cfg"), Path(f"{kind}.weights"))
        assert done.agreement.difference < 1e-4 and done.agreement.moved == 0
    with pytest.raises(UserError, match="is there already"):
        export.main(["--weights", "my.weights", "--format", "darknet", "--output", "darknet"])
    with pytest.raises(UserError, match="is a cfg with float32 weights"):
        export.main(["--weights", "my.weights", "--format", "darknet", "--half", "--output", "o"])
    with pytest.raises(UserError, match=r"would replace my.cfg: name an --output"):
        export.main(["--weights", "my.weights", "--format", "darknet", "--force"])
    # At another size, the cfg says it.
    export.main(
        ["--weights", "my.weights", "--format", "darknet", "--output", "w", "--imgsz", "64"]
    )
    assert Darknet("w.cfg").img_size == (64, 64)


def test_an_export_is_checked_where_the_network_finds_something(here: Path) -> None:
    """In grey pictures there is nothing; those with something come far down the list."""

    class Bright:
        img_size, in_channels = (32, 32), 3

        def eval(self) -> Bright:
            return self

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            score = images.amax((1, 2, 3))[:, None, None] - images.amin((1, 2, 3))[:, None, None]
            return torch.cat((torch.full((len(images), 1, 4), 9.0), score, score), 2)

    names = [f"grey{number}.png" for number in range(9)] + ["sure.png"]
    for name in names:
        picture = np.full((32, 32, 3), 127, np.uint8)
        if name == "sure.png":
            picture[:16] = 255
        write_image(Path(name), picture)
    Path("greys.txt").write_text("\n".join(names))
    Path("greys.data").write_text("classes=1\nvalid=greys.txt\n")
    network = cast(Network, Bright())
    found = checked_images(load_data_file("greys.data"), network, "stretch")
    assert len(found) == 2 and found[-1].max() == 1  # the third four, which are two
    Path("greys.txt").write_text("\n".join(names[:-1]))
    nothing = checked_images(load_data_file("greys.data"), network, "stretch")
    assert len(nothing) == 4


def test_weights_find_their_cfg(here: Path) -> None:
    """In a checkpoint, or beside NAME.weights; else it has to be named."""
    torch.save(checkpoint_content(Path("my.cfg").read_text(), state_of_mine(), 0), "alone.pt")
    how = ["--data", "my.data", "--workers", "0"]
    found = [val.main(["--weights", path, *how]).map for path in ("my.weights", "alone.pt")]
    assert found[0] == found[1] > 0.1
    Path("other.weights").write_bytes(Path("my.weights").read_bytes())
    with pytest.raises(UserError, match="holds no structure"):
        val.main(["--weights", "other.weights", *how])
    torch.save({"model": state_of_mine()}, "bare.pt")
    with pytest.raises(UserError, match=r"bare.pt: holds no cfg"):
        val.main(["--weights", "bare.pt", *how])
    torch.save({"model": state_of_mine(), "cfg": "[net]\nwidth=32\nchannels"}, "bad.pt")
    with pytest.raises(UserError, match=r"bad.pt's cfg:1"):
        val.main(["--weights", "bad.pt", *how])


def state_of_mine() -> dict[str, torch.Tensor]:
    return dict(Darknet("my.cfg", weights="my.weights").state_dict())


@pytest.mark.parametrize(
    ("names", "conf"),
    [(5, "high"), ("ab", float("nan")), ([1, 2], -1), ({"a": 1}, [0.5]), (None, 2.0), ([], None)],
)
def test_what_a_strangers_checkpoint_says_wrongly_counts_as_not_said(
    here: Path, names: object, conf: object
) -> None:
    text = Path("my.cfg").read_text()
    content = checkpoint_content(text, state_of_mine(), 0)
    torch.save({**content, "names": names, "best_conf": conf}, "odd.pt")
    network = Darknet("odd.pt", weights="odd.pt")
    assert (network.names, network.best_conf) == ((), None)
    torch.save({**content, "names": ["a", "b\x1b[31m"], "best_conf": 0.3}, "right.pt")
    network = Darknet("right.pt", weights="right.pt")
    assert (network.names, network.best_conf) == (("a", "b?[31m"), 0.3)
