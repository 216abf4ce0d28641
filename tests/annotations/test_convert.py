"""data/convert.py: small sets of each kind, whose boxes in pixels are known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.tiny_data import noise_picture, write_image
from utils.annotations.__main__ import main
from utils.command.errors import UserError
from utils.data.darknet_files import load_data_file
from utils.data.samples import load_samples

Box = tuple[str, float, float, float, float]


def picture(path: Path, h: int = 40, w: int = 80) -> Path:
    return write_image(path, noise_picture(h, w, 1))


def pixels(data: Path, split: str = "train") -> dict[str, list[Box]]:
    """Boxes of the converted set as (name, x1, y1, x2, y2), by image stem."""
    spec = load_data_file(data)
    samples, problems = load_samples(spec.require(split), spec.nc)
    assert not problems
    found = {}
    for sample in samples:
        h, w = sample.image_hw
        found[sample.path.stem] = [
            (spec.names[int(c)], *np.round(
                [(x - bw / 2) * w, (y - bh / 2) * h, (x + bw / 2) * w, (y + bh / 2) * h], 2
            ).tolist())
            for c, x, y, bw, bh in sample.labels.astype(float).tolist()
        ]  # fmt: skip
    return found


def voc_xml(folder: Path, stem: str, *objects: Box) -> None:
    items = "".join(
        f"<object><name>{n}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
        f"<ymax>{d}</ymax></bndbox></object>"
        for n, a, b, c, d in objects
    )
    size = "<size><width>80</width><height>40</height></size>"
    (folder / "Annotations").mkdir(parents=True, exist_ok=True)
    text = f"<annotation><filename>{stem}.png</filename>{size}{items}</annotation>"
    (folder / "Annotations" / f"{stem}.xml").write_text(text)


def test_voc(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "voc"
    voc_xml(source, "a", ("dog", 1, 1, 80, 40), ("cat", 11, 6, 20, 15), ("cat", 70, 30, 90, 44))
    voc_xml(source, "b", ("dog", 5, 5, 4, 9), ("dog", 200, 1, 210, 9))
    voc_xml(source, "lost", ("dog", 1, 1, 9, 9))
    for stem in "ab":
        picture(source / "JPEGImages" / f"{stem}.png")
    (source / "ImageSets/Main").mkdir(parents=True)
    (source / "ImageSets/Main/train.txt").write_text("a 1\n")
    (source / "ImageSets/Main/val.txt").write_text("b 1\n")
    main(["voc", str(source), str(tmp_path / "out")])
    said = capsys.readouterr().out
    # Pixel n of VOC, counted from 1, spans n - 1 to n.
    assert pixels(tmp_path / "out/out.data") == {
        "a": [("dog", 0, 0, 80, 40), ("cat", 10, 5, 20, 15), ("cat", 69, 29, 80, 40)]
    }
    assert pixels(tmp_path / "out/out.data", "valid") == {"b": []}
    assert "1 boxes clipped" in said and "2 boxes left out: no area" in said
    assert "1 annotations left out: no such image" in said
    assert (tmp_path / "out/out.names").read_text() == "cat\ndog\n"
    assert (tmp_path / "out/labelled.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_coco_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "coco"
    for split, name in (("train2017", "1.png"), ("val2017", "1.png")):
        picture(source / split / name)
    categories = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
    box = {"id": 1, "image_id": 5, "category_id": 7, "bbox": [10, 5, 20, 10]}
    crowd = {**box, "iscrowd": 1}
    for split, boxes in (("train2017", [box, crowd]), ("val2017", [{**box, "category_id": 3}])):
        images = [{"id": 5, "file_name": "1.png", "height": 40, "width": 80}]
        content = {"images": images, "annotations": boxes, "categories": categories}
        (source / "annotations").mkdir(exist_ok=True)
        (source / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    (source / "annotations/captions.json").write_text("{}")
    main(["coco", str(source), str(tmp_path / "out"), "--images", "link"])
    assert "1 boxes left out: crowd regions" in capsys.readouterr().out
    data = tmp_path / "out/out.data"
    assert pixels(data) == {"1": [("dog", 10, 5, 30, 15)]}
    assert pixels(data, "valid") == {"1": [("cat", 10, 5, 30, 15)]}
    assert (tmp_path / "out/images/train/1.png").is_symlink()
    main(["to-coco", str(data), str(tmp_path / "back.json")])
    back = json.loads((tmp_path / "back.json").read_text())
    assert [c["name"] for c in back["categories"]] == ["cat", "dog"]
    assert back["annotations"][0]["bbox"] == pytest.approx([10, 5, 20, 10], abs=0.01)
    assert back["annotations"][0]["category_id"] == 1
    assert (back["images"][0]["height"], back["images"][0]["width"]) == (40, 80)
    with pytest.raises(UserError, match="is there already"):
        main(["to-coco", str(data), str(tmp_path / "back.json")])


def test_ultralytics_boxes_and_polygons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("yaml", reason="needs pyyaml")
    source = tmp_path / "set"
    for name in "abcde":
        picture(source / f"images/train/{name}.png")
    labels = source / "labels/train"
    labels.mkdir(parents=True)
    (labels / "a.txt").write_text("1 .5 .5 .5 .5\n0 .1 .1 .3 .1 .3 .6\n")
    (labels / "b.txt").write_text("2 .5 .5 .5 .5\n0 .5 .5\nx\n1 .95 .5 .2 .2\n")
    text = "path: nowhere\ntrain: images/train\nnames:\n  0: cat\n  1: dog\n"
    (source / "data.yaml").write_text(text)
    main(["ultralytics", str(source), str(tmp_path / "out"), "--valid-share", "0.4"])
    said = capsys.readouterr().out
    train, valid = (pixels(tmp_path / "out/out.data", split) for split in ("train", "valid"))
    assert (len(train), len(valid)) == (3, 2)
    both = train | valid
    assert both["a"] == [("dog", 20, 10, 60, 30), ("cat", 8, 4, 24, 24)]
    assert both["b"] == [("dog", 68, 16, 80, 24)]
    assert "2 rows left out: not a class of the set" in said
    assert "1 rows left out: not class and box" in said
    assert "1 polygons" in said and "1 boxes clipped" in said


def test_oxford_hand(tmp_path: Path) -> None:
    io = pytest.importorskip("scipy.io", reason="needs scipy")
    for part in ("training_dataset/training_data", "test_dataset/test_data"):
        folder = tmp_path / "hands" / part
        picture(folder / "images/a.jpg")
        (folder / "annotations").mkdir()
        corners = {"a": [5.0, 10.0], "b": [5.0, 30.0], "c": [15.0, 32.0], "d": [15.0, 12.0]}
        cells = np.empty((1, 1), dtype=object)
        cells[0, 0] = {k: np.array([v]) for k, v in corners.items()}
        io.savemat(folder / "annotations/a.mat", {"boxes": cells})
    main(["oxford-hand", str(tmp_path / "hands"), str(tmp_path / "out")])
    for split in ("train", "valid"):
        assert pixels(tmp_path / "out/out.data", split) == {"a": [("hand", 10, 5, 32, 15)]}


def test_wrong_input_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/kept").write_text("")
    bomb = tmp_path / "bomb/Annotations"
    bomb.mkdir(parents=True)
    (bomb / "a.xml").write_text('<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>')
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.json").write_text('{"images": [{"id": 1}], "annotations": []}')
    (tmp_path / "images").mkdir()
    voc_xml(tmp_path / "alone", "a", ("dog", 1, 1, 9, 9))
    for kind, source, target, message in (
        ("voc", "absent", "out", "no such file or folder"),
        ("voc", "empty", "out", "no .xml file"),
        ("voc", "bomb", "out", "entities"),
        ("voc", "alone", "out", r"no usable image in it \(annotations left out: no such image"),
        ("coco", "empty", "out", "no JSON file"),
        ("coco", "bad", "out", r"images\[0\] needs id, file_name"),
        ("oxford-hand", "empty", "out", "scipy|holds none"),
        ("voc", "empty", "full", "holds other files"),
    ):
        with pytest.raises(UserError, match=message):
            main([kind, str(tmp_path / source), str(tmp_path / target)])
    assert not (tmp_path / "out").exists()
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["kept"]


def test_names_outside_the_source_cannot_be_reached(tmp_path: Path) -> None:
    """A file name in annotations is data from a stranger."""
    picture(tmp_path / "secret.png")
    (tmp_path / "set").mkdir()
    images = [{"id": 1, "file_name": "../secret.png"}]
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "x"}]}
    (tmp_path / "set/a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="no such file"):
        main(["coco", str(tmp_path / "set"), str(tmp_path / "out")])


def test_the_script_runs_from_anywhere(root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(root / "data/convert.py"), "voc", "absent", "out"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == "error: absent: no such file or folder"


@pytest.mark.parametrize(
    ("kpt_shape", "row", "box"),
    [
        ("[4, 2]", "0 .5 .5 .4 .4 .6 .6 .65 .6 .65 .65 .6 .65", (24, 12, 56, 28)),
        ("[4, 3]", "0 .5 .5 .4 .4 .6 .6 2 .65 .6 2 .65 .65 1 0 0 0", (24, 12, 56, 28)),
        ("[5, 3]", "0 .5 .5 .4 .4 " + ".6 .6 2 " * 5, (24, 12, 56, 28)),
        ("[4, 2]", "0 .5 .5 .4 .4", (24, 12, 56, 28)),
        ("", "0 .5 .5 .4 .4 .93", (24, 12, 56, 28)),  # a score
        ("", "0 .3 .3 .7 .3 .7 .7 .3 .7", (24, 12, 56, 28)),  # a turned box, or four points
        ("", "0 .3 .3 .7 .3 .7 .7", (24, 12, 56, 28)),  # a polygon
    ],
)
def test_rows_are_what_yaml_and_columns_say(
    tmp_path: Path, kpt_shape: str, row: str, box: tuple[float, ...]
) -> None:
    assert pixels(yolo_set(tmp_path, kpt_shape, row)) == {"a": [("cat", *box)]}


@pytest.mark.parametrize(
    ("kpt_shape", "row", "reason"),
    [
        ("", "0 .5 .5 .4 .4 .6 .6 2 .65 .6 2 .65 .65 1 0 0 0", "kpt_shape in the YAML"),
        ("[4, 2]", "0 .5 .5 .4 .4 .6 .6", "kpt_shape says 5 or 13"),
        ("", "0 .5 .5 .4 .4 7", "no score"),
        ("", "0 .5 .5 .4 .4 .1 .1 .1", "not class and box"),
    ],
)
def test_rows_that_could_be_anything_are_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kpt_shape: str, row: str, reason: str
) -> None:
    assert pixels(yolo_set(tmp_path, kpt_shape, row)) == {"a": []}
    assert reason in capsys.readouterr().out


def yolo_set(folder: Path, kpt_shape: str, row: str) -> Path:
    pytest.importorskip("yaml", reason="needs pyyaml")
    source = folder / "set"
    for name in "ab":
        picture(source / f"images/train/{name}.png")
    (source / "labels/train").mkdir(parents=True)
    (source / "labels/train/a.txt").write_text(f"{row}\n")
    shape = f"kpt_shape: {kpt_shape}\n" if kpt_shape else ""
    text = f"train: [[images/train/a.png.txt]]\nval: lists/b.txt\n{shape}names: [cat]\n"
    (source / "lists").mkdir()
    (source / "lists/b.txt").write_text("../images/train/b.png\n")
    (source / "images/train/a.png.txt").write_text("a.png\n")
    (source / "data.yaml").write_text(text)
    main(["ultralytics", str(source), str(folder / "out")])
    return folder / "out/out.data"


def test_voc_in_folders_of_any_name_with_splits(tmp_path: Path) -> None:
    """Roboflow's layout: train/ and valid/ with image and XML side by side, some stems twice."""
    source = tmp_path / "set"
    for split, corners in (("train", (1, 1, 80, 40)), ("valid", (11, 6, 20, 15))):
        voc_xml(tmp_path / split, "a", ("dog", *corners))
        (source / split).mkdir(parents=True)
        (tmp_path / split / "Annotations/a.xml").rename(source / split / "a.xml")
        picture(source / split / "a.png")
    main(["voc", str(source), str(tmp_path / "out")])
    assert pixels(tmp_path / "out/out.data") == {"a": [("dog", 0, 0, 80, 40)]}
    assert pixels(tmp_path / "out/out.data", "valid") == {"a": [("dog", 10, 5, 20, 15)]}


@pytest.mark.parametrize("named", ["", "annotations"])
def test_voc_in_lower_case_folders(tmp_path: Path, named: str) -> None:
    source = tmp_path / "set"
    voc_xml(source, "a", ("dog", 2, 1, 80, 40))
    voc_xml(source, "b")
    (source / "Annotations").rename(source / "annotations")
    for stem in "ab":
        picture(source / f"images/{stem}.png")
    main(["voc", str(source / named), str(tmp_path / "out"), "--valid-share", "0"])
    both = pixels(tmp_path / "out/out.data") | pixels(tmp_path / "out/out.data", "valid")
    assert both == {"a": [("dog", 1, 0, 80, 40)], "b": []}


@pytest.mark.parametrize("corner", ["0", "5.0", "4.5"])
def test_voc_written_from_zero_is_read_from_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], corner: str
) -> None:
    """datumaro and Label Studio count from 0; 5.0 is 5, and says nothing."""
    source = tmp_path / "set"
    for stem, left in (("a", float(corner)), ("b", 10.0)):
        voc_xml(source, stem, ("dog", left, 5, 20, 15))
        picture(source / f"JPEGImages/{stem}.png")
    main(["voc", str(source), str(tmp_path / "out"), "--valid-share", "0"])
    from_zero = corner != "5.0"
    assert ("from 0" in capsys.readouterr().out) == from_zero
    both = pixels(tmp_path / "out/out.data") | pixels(tmp_path / "out/out.data", "valid")
    assert both["b"] == [("dog", 10, 5, 20, 15) if from_zero else ("dog", 9, 4, 20, 15)]


def test_voc_sizes_that_are_not_the_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the same shape: the boxes are scaled. Of another: the image is left out."""
    source = tmp_path / "set"
    for stem, hw in (("a", (20, 40)), ("b", (40, 40))):
        voc_xml(source, stem, ("dog", 1, 1, 40, 20))  # states 80 x 40
        picture(source / f"JPEGImages/{stem}.png", *hw)
    main(["voc", str(source), str(tmp_path / "out"), "--valid-share", "0"])
    said = capsys.readouterr().out
    assert "1 images annotated at another size: boxes scaled" in said
    assert "1 images left out: annotated at another shape" in said
    assert pixels(tmp_path / "out/out.data") == {"a": [("dog", 0, 0, 20, 10)]}


def test_voc_names_in_lists_without_a_file_are_negatives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "set"
    voc_xml(source, "a b", ("dog", 1, 1, 40, 20))
    (source / "ImageSets/Main").mkdir(parents=True)
    (source / "ImageSets/Main/train.txt").write_text("a b\nnone 1\n")
    (source / "ImageSets/Main/val.txt").write_text("negative -1\n")
    for stem in ("a b", "negative"):
        picture(source / f"JPEGImages/{stem}.png")
    main(["voc", str(source), str(tmp_path / "out")])
    assert "1 images without an annotation: no objects" in capsys.readouterr().out
    assert pixels(tmp_path / "out/out.data") == {"a b": [("dog", 0, 0, 40, 20)]}
    assert pixels(tmp_path / "out/out.data", "valid") == {"negative": []}


def test_coco_files_about_the_same_images_are_put_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The layout of COCO's own annotations folder: every image once, with all its boxes."""
    source = tmp_path / "coco"
    picture(source / "train2017/1.png")
    (source / "annotations").mkdir()
    images = [{"id": 5, "file_name": "1.png", "height": 40, "width": 80}]
    dog = {"id": 1, "image_id": 5, "category_id": 18, "bbox": [10, 5, 20, 10]}
    person = {"id": 2, "image_id": 5, "category_id": 1, "bbox": [40, 5, 20, 10]}
    names = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]
    for kind, found in (
        ("instances", [dog, person]),
        ("person_keypoints", [{**person, "keypoints": [1, 2, 2]}]),
        ("captions", [{"id": 9, "image_id": 5, "caption": "a dog"}]),
        ("image_info", []),
    ):
        content = {"images": images, "annotations": found, "categories": names}
        (source / f"annotations/{kind}_train2017.json").write_text(json.dumps(content))
    main(
        [
            "coco",
            str(source),
            str(tmp_path / "out"),
            "--names",
            str(named(tmp_path, "person", "dog")),
        ]
    )
    assert pixels(tmp_path / "out/out.data") == {
        "1": [("person", 40, 5, 60, 15), ("dog", 10, 5, 30, 15)]
    }
    assert "2 files left out: no boxes in them" in capsys.readouterr().out


def named(folder: Path, *names: str) -> Path:
    path = folder / "wanted.names"
    path.write_text("\n".join(names))
    return path
