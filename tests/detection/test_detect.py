"""detect.py on pictures and videos of one bright box, and what it says of those it cannot read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import detect
from models import Darknet
from tests.support.nets import conv, head, healthy_state, net
from tests.support.tiny_data import noise_picture, write_image
from utils.cfg import format_cfg
from utils.command.errors import UserError
from utils.data.detections import Detections
from utils.detection.options import Inputs
from utils.detection.outputs import label_text, unique_stems
from utils.detection.sources import Source, find_sources
from utils.runtimes.detect import session as session_module
from utils.runtimes.detect.options import DetectOptions
from utils.runtimes.detect.run import pictures_at_once
from utils.runtimes.detect.tally import Tally


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Flags of a small random net that finds something everywhere."""
    folder = tmp_path_factory.mktemp("model")
    cfg = net(conv(8, stride=2), conv(8, stride=2), head())
    (folder / "net.cfg").write_text(format_cfg(cfg))
    network = Darknet(folder / "net.cfg")
    network.load_state(healthy_state(network))
    network.save_weights(folder / "net.weights")
    (folder / "net.names").write_text("cat\ndog\n")
    return {
        "--cfg": str(folder / "net.cfg"),
        "--weights": str(folder / "net.weights"),
        "--names": str(folder / "net.names"),
        "--conf-thres": "0.3",
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(model: dict[str, str], *flags: str) -> Tally:
    return detect.main([*(part for pair in model.items() for part in pair), *flags])


def write_video(path: Path, frames: int, size: tuple[int, int] = (48, 64)) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, size[::-1])
    for number in range(frames):
        writer.write(noise_picture(*size, number))
    writer.release()
    return path


def count_frames(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def test_a_folder_of_pictures_and_a_video(
    model: dict[str, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = here / "photos"
    for name in ("a.png", "b.jpg"):
        write_image(photos / name, noise_picture(40, 60, len(name)))
    (photos / "broken.jpg").write_bytes(b"no picture")
    (photos / "notes.txt").write_text("left alone")
    write_video(photos / "a.avi", 7)
    tally = run(model, "--source", "photos", "--save-txt", "--save-json")
    out = here / "runs/detect/photos"
    assert (tally.sources, tally.frames) == (3, 2 + 7)
    made = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    labels = ["a-2.txt", *(f"a_{k:06d}.txt" for k in range(7)), "b.txt"]
    assert made == sorted(
        ["a-2.png", "a.mp4", "b.jpg", "detections.json", *(f"labels/{name}" for name in labels)]
    )
    assert count_frames(out / "a.mp4") == 7
    content = json.loads((out / "detections.json").read_text())
    assert content["names"] == ["cat", "dog"]
    assert [image.get("frame") for image in content["images"]] == [*range(7), None, None]
    said = capsys.readouterr()
    assert "broken.jpg: not an image" in said.err
    assert f"{tally.found.total()}" in said.out and tally.found.total() > 0
    assert "7 frames -> " in said.out
    # Nothing is replaced: another run goes beside it.
    run(model, "--source", "photos/a.png")
    run(model, "--source", "photos/a.png")
    assert sorted(p.name for p in (here / "runs/detect").iterdir()) == ["a", "a-2", "photos"]


def test_boxes_are_those_of_the_picture(model: dict[str, str], here: Path) -> None:
    """Text, JSON and the network's own boxes agree, in a picture that is stretched."""
    picture = noise_picture(30, 90, 5)
    write_image(here / "wide.png", picture)
    run(model, "--source", "wide.png", "--output", "out", "--save-txt", "--save-json")
    (image,) = json.loads((here / "out/detections.json").read_text())["images"]
    rows = [line.split() for line in (here / "out/labels/wide.txt").read_text().splitlines()]
    assert len(rows) == len(image["detections"]) > 0
    network = Darknet(model["--cfg"]).load_weights(model["--weights"]).eval()
    fitted = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA)
    with torch.no_grad():
        boxes = network(torch.from_numpy(fitted).permute(2, 0, 1)[None].float() / 255)[0]
    scores = (boxes[:, 4:5] * boxes[:, 5:]).amax(1)
    assert float(rows[0][5]) == pytest.approx(float(scores.max()), abs=1e-4)
    for row, found in zip(rows, image["detections"], strict=True):
        label, xc, yc, w, h, score = map(float, row)
        x, y, width, height = found["bbox"]
        assert (xc - w / 2) * 90 == pytest.approx(x, abs=1e-2)
        assert (yc - h / 2) * 30 == pytest.approx(y, abs=1e-2)
        assert (w * 90, h * 30) == pytest.approx((width, height), abs=1e-2)
        assert (int(label), score) == (found["class"], pytest.approx(found["score"], abs=1e-5))
        assert 0 <= x <= x + width <= 90.001 and 0 <= y <= y + height <= 30.001


def results(folder: Path) -> dict[str, bytes]:
    """What a run wrote, but for the times."""
    made = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    content = json.loads(made.pop("detections.json"))
    for image in content["images"]:
        del image["ms"]
    return {**made, "": json.dumps(content).encode()}


def test_any_batch_finds_the_same_in_the_same_order(
    model: dict[str, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(7):
        write_image(here / f"photos/{number}.png", noise_picture(30 + 9 * number, 50, number))
    (here / "photos/3b.jpg").write_bytes(b"no picture")
    write_video(here / "photos/5b.avi", 2)
    said = {}
    for size in ("1", "3", "8"):
        run(model, "--source", "photos", "--output", size, "--save-txt", "--save-json",
            "--batch-size", size)  # fmt: skip
        out = capsys.readouterr()
        said[size] = [line.split(" (")[0] for line in out.out.splitlines() if "photos/" in line]
        assert "photos/3b.jpg: not an image" in out.err
    assert said["1"] == [f"photos/{n}.png" for n in range(6)] + [
        line for line in said["1"] if "5b.avi" in line
    ] + ["photos/6.png"]  # fmt: skip
    assert [line.replace("3/", "1/") for line in said["3"]] == said["1"]
    first = results(here / "1")
    assert results(here / "3") == results(here / "8") == first
    # Negative control: other pictures are other bytes.
    write_image(here / "photos/2.png", noise_picture(48, 50, 99))
    run(model, "--source", "photos", "--output", "other", "--save-txt", "--save-json")
    assert results(here / "other") != first


def test_a_picture_that_cannot_be_written_ends_the_run(
    model: dict[str, str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        write_image(here / f"photos/{number}.png", noise_picture(20, 20, number))

    def fails(*_: object) -> Path:
        raise UserError("the disk is full")

    monkeypatch.setattr(session_module, "save_picture", fails)
    with pytest.raises(UserError, match="the disk is full"):
        run(model, "--source", "photos", "--output", "out")
    assert not (here / "out").exists()


def test_batches_only_where_no_layer_sums_by_batch(model: dict[str, str]) -> None:
    network = Darknet(model["--cfg"])
    options = DetectOptions(Inputs(model["--cfg"], model["--weights"]), "a.png", batch_size=5)
    assert pictures_at_once(options, network) == 5
    assert pictures_at_once(replace(options, backend="opencv"), network) == 1
    network.rules[0].sums_by_batch = True
    assert pictures_at_once(options, network) == 1


def test_lists_patterns_and_double_names(model: dict[str, str], here: Path) -> None:
    for folder in ("x", "y"):
        write_image(here / folder / "same.png", noise_picture(20, 20, 1))
    (here / "list.txt").write_text("x/same.png\ny/same.png\n")
    run(model, "--source", "list.txt", "--output", "listed")
    run(model, "--source", "?/same.png", "--output", "matched")
    for folder in ("listed", "matched"):
        assert sorted(p.name for p in (here / folder).iterdir()) == ["same-2.png", "same.png"]


def test_a_video_cut_short_is_reported(
    model: dict[str, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_video(here / "whole.avi", 30, (96, 128)).read_bytes()
    (here / "cut.avi").write_bytes(whole[: len(whole) // 2])
    tally = run(model, "--source", "cut.avi", "--output", "out")
    assert 0 < tally.frames < 30
    assert count_frames(here / "out/cut.mp4") == tally.frames
    assert "its header says 30" in capsys.readouterr().err


def test_a_checkpoint_names_the_classes_and_the_threshold_to_use(
    model: dict[str, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is found at a threshold of 1: the hint counts what is there at the one it names."""
    write_image(here / "a.png", noise_picture(40, 60, 1))
    state = Darknet(model["--cfg"], weights=model["--weights"]).state_dict()
    content = {"format": 1, "cfg": Path(model["--cfg"]).read_text(), "model": state, "seen": 0}
    torch.save({**content, "names": ["cat", "dog"], "best_conf": 0.3126}, here / "best.pt")
    torch.save(content, here / "plain.pt")
    found = detect.main(["--weights", "best.pt", "--source", "a.png", "--conf-thres", "0.312"])
    assert found.names == ("cat", "dog") and found.found.total() > 0 and not found.hint()
    nothing = detect.main(["--weights", "best.pt", "--source", "a.png", "--conf-thres", "1"])
    assert (nothing.empty, nothing.found.total()) == (1, 0)
    told = f"{found.found.total()} boxes there have a score of 0.312 or more, where this model's F1"
    assert told in capsys.readouterr().out
    other = detect.main(["--weights", "plain.pt", "--source", "a.png", "--conf-thres", "1"])
    assert other.names == ("0", "1") and "--conf-thres 0.200" in other.hint()
    assert "F1" not in other.hint()


def test_wrong_input_is_one_line(model: dict[str, str], here: Path) -> None:
    (here / "empty").mkdir()
    (here / "no.avi").write_bytes(b"RIFF")
    (here / "none.txt").write_text("\n")
    (here / "three.names").write_text("a\nb\nc\n")
    write_video(here / "frameless.avi", 0)
    write_image(here / "a.png", noise_picture(20, 20, 1))
    (here / "full").mkdir()
    (here / "full/kept").write_text("")
    for flags, message in (
        (["--source", "absent.jpg"], "no such file"),
        (["--source", "absent/*.jpg"], "nothing is there"),
        (["--source", "empty"], "nothing is there"),
        (["--source", "no.avi"], "no.avi: not a video"),
        (["--source", "frameless.avi"], "frameless.avi: "),
        (["--source", "none.txt"], "names no image"),
        (["--source", "99"], "99: no such camera"),
        (["--source", "a.png", "--names", "three.names"], "has 3 names, but .* 2 classes"),
        (["--source", "a.png", "--output", "full"], "holds other files"),
        (["--source", "a.png", "--cfg", "none.cfg"], "none.cfg"),
    ):
        with pytest.raises(UserError, match=message):
            run(model, *flags)
    # Nothing is left of runs that found nothing.
    assert not (here / "runs").exists()
    assert [p.name for p in (here / "full").iterdir()] == ["kept"]


def test_view_needs_windows(
    model: dict[str, str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def headless(name: str) -> None:
        raise cv2.error("The function is not implemented")

    monkeypatch.setattr(cv2, "namedWindow", headless)
    write_image(here / "a.png", noise_picture(20, 20, 1))
    with pytest.raises(UserError, match="--view: this OpenCV has no windows"):
        run(model, "--source", "a.png", "--view")


def test_live_sources_have_names() -> None:
    camera, stream = find_sources("0")[0], find_sources("rtsp://user@host:554/a")[0]
    assert (camera.kind, camera.stem) == ("live", "camera0")
    assert (stream.kind, stream.stem) == ("live", "user-host-554-a")
    assert unique_stems([Source("A.png", "image"), Source("a.jpg", "image")]) == ["A", "a-2"]


def test_label_lines() -> None:
    found = Detections(np.array([[10.0, 5, 30, 15]]), np.array([0.75]), np.array([1]))
    assert label_text(found, (20, 40)) == "1 0.500000 0.500000 0.500000 0.500000 0.750000\n"
