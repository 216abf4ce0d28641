"""The embedded data set: seeded, sound, and never written over someone's files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from utils.data.darknet_files import load_data_file
from utils.data.dataset import DetectionDataset
from utils.data.samples import class_counts
from utils.pictures.drawn_set import draw as shapes

IMAGES = 40
SIZE = 160


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parent") / "shapes"
    shapes.make_shapes(folder, IMAGES, seed=0, img_size=SIZE)
    return folder


def empty_scene(h: int, w: int) -> shapes.Scene:
    return shapes.Scene(np.zeros((h, w, 3), np.uint8), np.full((h, w), -1, np.int16), [])


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_set_loads_without_a_problem(made: Path) -> None:
    spec = load_data_file(made / "shapes.data")
    assert spec.names == ("disc", "triangle", "star")
    counts = np.zeros(3, np.int64)
    negatives = 0
    for which, size in (("train", 32), ("valid", 8)):
        dataset = DetectionDataset(spec.require(which), spec.nc, (64, 64), strict=True, cache=True)
        assert len(dataset) == size
        counts += class_counts(dataset.samples, 3)
        negatives += sum(len(sample.labels) == 0 for sample in dataset.samples)
    assert counts.min() > 10
    assert 0 < negatives < IMAGES / 4
    assert {path.suffix for path in (made / "images").iterdir()} == {".png", ".jpg"}


def test_same_seed_same_files_and_more_images_only_extend(made: Path, tmp_path: Path) -> None:
    shapes.make_shapes(tmp_path / "again", 10, seed=0, img_size=SIZE)
    shapes.make_shapes(tmp_path / "other", 10, seed=1, img_size=SIZE)
    again, other, whole = (contents(p) for p in (tmp_path / "again", tmp_path / "other", made))
    pictures = [name for name in again if name.startswith(("images", "labels"))]
    assert len(pictures) >= 18
    assert all(again[name] == whole[name] for name in pictures)
    assert any(other.get(name) != again[name] for name in pictures)


@pytest.mark.parametrize("kind", range(3))
def test_labels_are_the_extent_of_the_drawn_shape(kind: int) -> None:
    for seed in range(10):
        scene = empty_scene(120, 160)
        box = shapes.place(np.random.default_rng(seed), scene, shapes.OBJECTS[kind])
        assert box is not None
        y, x = np.nonzero(scene.owners == 0)
        drawn = [x.min(), y.min(), x.max() + 1, y.max() + 1]
        xc, yc, w, h = np.array(box) * (160, 120, 160, 120)
        # Sharp points cover less than half of their last pixels.
        np.testing.assert_allclose(
            [xc - w / 2, yc - h / 2, xc + w / 2, yc + h / 2], drawn, atol=2.5
        )


def test_every_object_stays_visible() -> None:
    rng, scene = np.random.default_rng(0), empty_scene(120, 120)
    for number in range(30):
        shapes.place(rng, scene, shapes.OBJECTS[number % 3])
    shares = [(scene.owners == k).sum() / area for k, area in enumerate(scene.areas)]
    assert len(shares) > 4
    assert shapes.MIN_VISIBLE <= min(shares) < 0.95  # some do lie below others


def test_a_folder_of_its_own_is_renewed(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shapes.make_shapes(folder, 8, seed=0, img_size=64)
    (folder / "images" / "mine.jpg").write_text("mine")
    shapes.make_shapes(folder, 5, seed=3, img_size=64)
    assert len(list((folder / "images").glob("shape_*"))) == 5
    assert (folder / "images" / "mine.jpg").read_text() == "mine"


def test_command_line_and_its_refusals(root: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "train.txt").write_text("precious")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "data/shapes.py", "--images", "3", "--img-size", "64"]
        command += ["--output", str(theirs), *arguments]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)

    refused = run()
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1
    assert (theirs / "train.txt").read_text() == "precious"
    forced = run("--overwrite")
    assert forced.returncode == 0, forced.stderr
    names = [f"shape_{number:05d}.jpg" for number in range(3)]
    assert (theirs / "train.txt").read_text() == "".join(f"images/{name}\n" for name in names)
