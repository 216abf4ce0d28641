"""One data set in every form that people have it in: the same lists, boxes and names."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.tiny_data import noise_picture, write_image
from utils.annotations.forms import data_file
from utils.annotations.ready import ready_data
from utils.command.errors import UserError
from utils.data.darknet_files import load_data_file
from utils.data.samples import load_samples

# Image -> its boxes in pixels of 80 x 40; "c" has none. Valid is the second split.
BOXES = {
    "train": {"a": [("cat", 8, 4, 24, 24), ("dog", 16, 8, 48, 36)], "c": []},
    "valid": {"b": [("dog", 40, 10, 80, 40)]},
}
NAMES = ("cat", "dog")
WIDTH, HEIGHT = 80, 40


def images(source: Path, folder: str = "{split}/images") -> None:
    for split, found in BOXES.items():
        for stem in found:
            path = source / folder.format(split=split) / f"{stem}.png"
            write_image(path, noise_picture(HEIGHT, WIDTH, 1))


def labels(source: Path, folder: str = "{split}/labels") -> None:
    for split, found in BOXES.items():
        for stem, boxes in found.items():
            rows = [
                f"{NAMES.index(n)} {(a + c) / 2 / WIDTH} {(b + d) / 2 / HEIGHT} {(c - a) / WIDTH} "
                f"{(d - b) / HEIGHT}\n"
                for n, a, b, c, d in boxes
            ]
            path = source / folder.format(split=split) / f"{stem}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(rows))


def darknet(source: Path) -> Path:
    images(source)
    labels(source)
    for split, found in BOXES.items():
        lines = "".join(f"{split}/images/{stem}.png\n" for stem in sorted(found))
        (source / f"{split}.txt").write_text(lines)
    (source / "my.names").write_text("cat\ndog\n")
    (source / "my.data").write_text("classes=2\ntrain=train.txt\nvalid=valid.txt\nnames=my.names\n")
    return source


def datumaro(source: Path) -> Path:
    """obj.data as CVAT's YOLO 1.1 has it: `val`, and `data/` before all that it names."""
    images(source, "obj_{split}_data")
    labels(source, "obj_{split}_data")
    for split, found in BOXES.items():
        lines = "".join(f"data/obj_{split}_data/{stem}.png\n" for stem in sorted(found))
        (source / f"{split}.txt").write_text(lines)
    (source / "obj.names").write_text("cat\ndog\n")
    text = "classes = 2\ntrain = data/train.txt\nval = data/valid.txt\nnames = data/obj.names\n"
    (source / "obj.data").write_text(text + "backup = backup/\n")
    return source


def roboflow_yaml(source: Path) -> Path:
    images(source)
    labels(source)
    text = "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n"
    (source / "data.yaml").write_text(text)
    return source / "data.yaml"


def ultralytics_folder(source: Path) -> Path:
    images(source, "images/{split}")
    labels(source, "labels/{split}")
    text = "path: .\ntrain: [images/train]\nval: images/valid\nnames: {0: cat, 1: dog}\n"
    (source / "set.yaml").write_text(text)
    return source


def supervision_yaml(source: Path) -> Path:
    """Names and nothing else; the folders say the rest."""
    images(source)
    labels(source)
    (source / "data.yaml").write_text("nc: 2\nnames: [cat, dog]\n")
    return source


def label_studio(source: Path) -> Path:
    images(source, "{split}/images")
    labels(source, "{split}/labels")
    (source / "classes.txt").write_text("cat\ndog\n")
    (source / "notes.json").write_text('{"categories": []}')
    return source


def coco(source: Path) -> Path:
    images(source, "{split}2017")
    for split, found in BOXES.items():
        pictures = [
            {"id": number, "file_name": f"{stem}.png", "width": WIDTH, "height": HEIGHT}
            for number, stem in enumerate(sorted(found))
        ]
        boxes = [
            {
                "id": number,
                "image_id": sorted(found).index(stem),
                "category_id": 10 + NAMES.index(n),
                "bbox": [a, b, c - a, d - b],
            }
            for number, (stem, n, a, b, c, d) in enumerate(
                (stem, *box) for stem, several in found.items() for box in several
            )
        ]
        names = [{"id": 10 + k, "name": name} for k, name in enumerate(NAMES)]
        content = {"images": pictures, "annotations": boxes, "categories": names}
        (source / "annotations").mkdir(exist_ok=True)
        (source / f"annotations/instances_{split}2017.json").write_text(json.dumps(content))
    return source


def fiftyone_coco(source: Path) -> Path:
    """One folder a split: data/ and labels.json."""
    coco(source)
    for split in BOXES:
        (source / split).mkdir()
        (source / f"{split}2017").rename(source / split / "data")
        found = source / f"annotations/instances_{split}2017.json"
        found.rename(source / split / "labels.json")
    return source


def voc(source: Path, folder: str = "{split}/annotations") -> Path:
    images(source)
    for split, found in BOXES.items():
        for stem, boxes in found.items():
            items = "".join(
                f"<object><name>{n}</name><bndbox><xmin>{a + 1}</xmin><ymin>{b + 1}</ymin>"
                f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
                for n, a, b, c, d in boxes
            )
            path = source / folder.format(split=split) / f"{stem}.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"<annotation><filename>{stem}.png</filename>{items}</annotation>")
    return source


FORMS: dict[str, Callable[[Path], Path]] = {
    form.__name__: form
    for form in (
        darknet,
        datumaro,
        roboflow_yaml,
        ultralytics_folder,
        supervision_yaml,
        label_studio,
        coco,
        fiftyone_coco,
        voc,
    )
}


def content(data: Path) -> dict[str, list[tuple[str, list[list[float]]]]]:
    spec = load_data_file(data)
    assert spec.names == NAMES
    found = {}
    for split in ("train", "valid"):
        samples, problems = load_samples(spec.require(split), spec.nc)
        assert not problems
        found[split] = [(s.path.stem, np.sort(s.labels, axis=0).tolist()) for s in samples]
    return found


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_is_the_same_data_set(
    form: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("yaml", reason="needs pyyaml")
    (tmp_path / "other").mkdir()
    expected = content(data_file(darknet(tmp_path / "other"), tmp_path / "cache"))
    assert [stem for stem, _ in expected["train"]] == ["a", "c"]
    assert [len(rows) for _, rows in expected["train"]] == [2, 0]
    source = tmp_path / "my set"
    source.mkdir()
    given = form(source)
    before = sorted((p, p.stat().st_mtime_ns) for p in source.rglob("*"))
    found = content(data_file(given, tmp_path / "cache"))
    assert found == expected
    assert sorted((p, p.stat().st_mtime_ns) for p in source.rglob("*")) == before


def test_a_set_is_converted_once_and_again_when_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, cache = tmp_path / "set", tmp_path / "cache"
    voc(source)
    with caplog.at_level(logging.INFO):
        first = data_file(source, cache)
        assert "read as Pascal VOC" in caplog.text
        assert data_file(source, cache) == first
        assert "converted before" in caplog.text
    (source / "train/annotations/c.xml").unlink()
    assert data_file(source, cache) != first
    assert first.is_file()  # what was made before stays


def voc_of_one_split(source: Path) -> None:
    voc(source)
    shutil.rmtree(source / "valid")


def datumaro_of_one_split(source: Path) -> None:
    datumaro(source)
    text = (source / "obj.data").read_text()
    (source / "obj.data").write_text(text.replace("val = data/valid.txt\n", ""))


@pytest.mark.parametrize("form", [voc_of_one_split, datumaro_of_one_split])
def test_without_a_validation_split_one_is_drawn_and_said(
    form: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "set"
    form(source)
    with caplog.at_level(logging.INFO):
        spec = load_data_file(data_file(source, tmp_path / "cache"))
    assert "1 images drawn for validation (seed 0)" in caplog.text
    assert spec.valid is not None


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "holds no data set"),
        (("a.data", "b.data"), "holds 2 .data files; name one"),
        (("a.json",), "no JSON file with images"),
    ],
)
def test_what_is_no_data_set_is_told(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    source = tmp_path / "set"
    source.mkdir()
    for name in files:
        (source / name).write_text("{}")
    with pytest.raises(UserError, match=message):
        data_file(source, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    with pytest.raises(UserError, match="no such file or folder"):
        data_file(tmp_path / "none", tmp_path / "cache")
    (tmp_path / "set.zip").touch()
    with pytest.raises(UserError, match="unpack it"):
        ready_data(str(tmp_path / "set.zip"))
