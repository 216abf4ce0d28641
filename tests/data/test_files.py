"""Darknet's text files, labels and the check of a whole list."""

from __future__ import annotations

import codecs
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tiny_data import (
    box_picture,
    make_set,
    noise_picture,
    write_image,
    write_list,
    write_sample,
)
from utils.command.errors import UserError
from utils.data.darknet_files import load_data_file, load_list, load_names, names_text, read_text
from utils.data.dataset import DetectionDataset
from utils.data.labels import clip_to_image, label_path, read_labels
from utils.data.samples import class_balance_weights, class_counts, load_samples

NC = 3


def data_file(folder: Path, text: str) -> Path:
    path = folder / "my.data"
    path.write_text(text)
    return path


def labels_of(folder: Path, text: str) -> tuple[np.ndarray, list[str]]:
    path = folder / "a.txt"
    path.write_text(text)
    rows, problems = read_labels(path, NC)
    return rows, [str(problem).removeprefix(f"{path}:") for problem in problems]


# .data and .names


def test_data_file_with_spaces_comments_crlf_and_bom(tmp_path: Path) -> None:
    (tmp_path / "c.names").write_bytes(codecs.BOM_UTF8 + b"cat\r\n\r\ndog #1\r\n")
    (tmp_path / "train.txt").write_text("x.jpg\n")
    text = "# mine\r\n classes = 2 \r\ntrain=train.txt ; here\r\nnames = c.names\r\nbackup=b/\r\n"
    path = tmp_path / "my.data"
    path.write_bytes(codecs.BOM_UTF8 + text.encode())
    spec = load_data_file(path)
    assert (spec.nc, spec.names) == (2, ("cat", "dog #1"))
    assert spec.train == tmp_path / "train.txt"
    assert spec.valid is None
    assert spec.require("train") == spec.train
    with pytest.raises(UserError, match="no 'valid=' line"):
        spec.require("valid")


def test_paths_resolve_in_the_working_directory_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, here = tmp_path / "set", tmp_path / "here"
    beside.mkdir()
    here.mkdir()
    path = data_file(beside, "classes=1\nvalid=lists/valid.txt\n")
    (beside / "lists").mkdir()
    (beside / "lists" / "valid.txt").write_text("a.jpg\n")
    monkeypatch.chdir(here)
    assert load_data_file(path).valid == beside / "lists" / "valid.txt"
    (here / "lists").mkdir()
    (here / "lists" / "valid.txt").write_text("b.jpg\n")
    assert load_data_file(path).valid == Path("lists/valid.txt")
    assert load_data_file(Path(os.path.relpath(path))).valid == Path("lists/valid.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train=a.txt\n", "needs a 'classes=' line"),
        ("classes=two\n", ":1: classes='two'"),
        ("\nclasses=-1\n", ":2: classes='-1'"),
        ("classes=0\n", ":1: classes=0"),
        ("classes=1e3\n", ":1: classes='1e3'"),
        ("classes=999999999\n", ":1: classes=999999999"),
        ("classes=2\nhello\n", ":2: expected key=value"),
        ("classes=2\nnames=none.names\n", "none.names: cannot be read"),
    ],
)
def test_data_file_errors_name_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=r"my\.data|none\.names") as caught:
        load_data_file(data_file(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_repeated_key_and_surplus_names_warn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "c.names").write_text("a\nb\nc\n")
    spec = load_data_file(data_file(tmp_path, "classes=2\nclasses=5\nnames=c.names\n"))
    assert (spec.nc, spec.names) == (2, ("a", "b"))
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "my.data:2" in caplog.text
    assert "3 names for 2 classes" in caplog.text
    assert load_data_file(data_file(tmp_path, "classes=4\nnames=c.names\n")).names[3] == "3"
    assert load_data_file(data_file(tmp_path, "names=c.names\n")).nc == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\x01\x02" * 3000, "a binary file"),
        (b"ok\n" * 2000 + b"\x00", "a binary file"),
        (b"\xff\xfa latin", "not UTF-8"),
        (b"x" * 3000, "larger than"),
    ],
)
def test_files_that_are_not_text(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_text(path, "a list", 2999 if message == "larger than" else 1 << 20)
    with pytest.raises(UserError, match="cannot be read"):
        read_text(tmp_path, "a list", 99)
    with pytest.raises(UserError, match="cannot be read"):
        read_text(tmp_path / "none", "a list", 99)


def test_list_in_utf16_with_windows_paths(tmp_path: Path) -> None:
    write_sample(tmp_path, "ä.png", box_picture(8, 8, 1, 1, 4, 4), None)
    path = tmp_path / "list.txt"
    path.write_bytes("images\\ä.png\r\n\r\nnone.png\r\n".encode("utf-16"))
    assert load_list(path) == [(1, tmp_path / "images/ä.png"), (3, tmp_path / "none.png")]
    path.write_text("\n \n")
    with pytest.raises(UserError, match="names no image"):
        load_list(path)
    assert load_names(Path(__file__))[0].startswith('"""Darknet')


def test_absurd_list_lines_are_problems_not_crashes(tmp_path: Path) -> None:
    write_sample(tmp_path, "a.png", box_picture(8, 8, 1, 1, 4, 4), None)
    path = tmp_path / "list.txt"
    path.write_text("images/a.png\n" + "x" * 10_000 + "\n" + "y" * 300 + "\nimages\n")
    samples, problems = load_samples(path, NC)
    assert len(samples) == 1
    assert [problem.where for problem in problems] == [f"{path}:{line}" for line in (2, 3, 4)]


# Labels


def test_label_path_replaces_the_last_images_folder(tmp_path: Path) -> None:
    assert label_path(Path("/images/a/images/b/my.images.jpg")) == Path(
        "/images/a/labels/b/my.images.txt"
    )
    assert label_path(Path("images/x.jpeg")) == Path("labels/x.txt")
    assert label_path(Path("pics/images.jpg")) == Path("pics/images.txt")
    assert label_path(Path("myimages/x.jpg")) == Path("myimages/x.txt")
    assert label_path(Path("VOC/JPEGImages/x.jpg")) == Path("VOC/labels/x.txt")
    beside = tmp_path / "images" / "a.txt"
    beside.parent.mkdir()
    assert label_path(beside.with_suffix(".jpg")) == tmp_path / "labels" / "a.txt"
    beside.write_text("")
    assert label_path(beside.with_suffix(".jpg")) == beside


def test_good_rows_are_kept_as_they_are(tmp_path: Path) -> None:
    rows, problems = labels_of(tmp_path, "0 .5 .5 .2 .2\r\n\r\n2.0\t0.25 0.75 0.5 0.5\n")
    assert problems == []
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(
        rows, np.array([[0, 0.5, 0.5, 0.2, 0.2], [2, 0.25, 0.75, 0.5, 0.5]], np.float32)
    )
    assert read_labels(tmp_path / "none.txt", NC)[0].shape == (0, 5)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("3 .5 .5 .1 .1", "class 3 is out of range"),
        ("-1 .5 .5 .1 .1", "class -1 is not"),
        ("0.5 .5 .5 .1 .1", "class 0.5 is not"),
        ("1e300 .5 .5 .1 .1", "out of range"),
        ("0 1.2 .5 .1 .1", "outside 0..1"),
        ("0 .5 -.01 .1 .1", "outside 0..1"),
        ("0 1.01 .5 1 1", "outside 0..1"),
        ("0 .5 .5 64 .1", "pixels?"),
        ("0 .5 .5 .1 2.1", "pixels?"),
        ("0 .5 .5 0 .1", "no size"),
        ("0 .5 .5 .1 -.1", "no size"),
        ("0 .5 .5 1e-30 .1", "no size"),
        ("0 .5 .5 .1", "4 columns instead of 5"),
        ("0", "1 column instead of 5"),
        ("0 .5 .5 .1 .1 1.1", "sixth column is no score"),
        ("0 .5 .5 .1 .1 nan", "not finite"),
        ("0 .5 .5 .1 .1 cat", "not 6 numbers"),
        ("0 .5 .5 .1 .1 .9 7", "7 columns instead of 5"),
        ("cat .5 .5 .1 .1", "not 5 numbers"),
        ("0 nan .5 .1 .1", "not finite"),
        ("0 .5 inf .1 .1", "not finite"),
    ],
)
def test_bad_rows_are_left_out_and_told(tmp_path: Path, row: str, reason: str) -> None:
    rows, problems = labels_of(tmp_path, f"0 .5 .5 .2 .2\n{row}\n1 .5 .5 .2 .2\n")
    assert rows[:, 0].tolist() == [0, 1]
    assert len(problems) == 1
    assert problems[0].startswith("2: ")
    assert reason in problems[0]


unit = st.floats(0, 1)


@given(unit, unit, st.floats(1e-5, 1), st.floats(1e-5, 1))
def test_clipped_boxes_lie_in_the_image_and_have_a_size(
    x: float, y: float, w: float, h: float
) -> None:
    row = clip_to_image(np.array([[1, x, y, w, h]]))[0].astype(np.float64)
    low, high = row[1:3] - row[3:5] / 2, row[1:3] + row[3:5] / 2
    assert (low >= -1e-6).all()
    assert (high <= 1 + 1e-6).all()
    assert (row[3:5] > 0).all()
    inside = x - w / 2 >= 0 and x + w / 2 <= 1 and y - h / 2 >= 0 and y + h / 2 <= 1
    if inside:
        np.testing.assert_array_equal(row, np.array([1, x, y, w, h], np.float32))


def test_box_over_the_border_is_clipped(tmp_path: Path) -> None:
    rows, problems = labels_of(tmp_path, "0 0.05 0.5 0.2 0.2\n0 1.000001 .5 .2 .2\n")
    assert problems == []
    np.testing.assert_allclose(
        rows, [[0, 0.075, 0.5, 0.15, 0.2], [0, 0.95, 0.5, 0.1, 0.2]], atol=2e-6
    )


@pytest.mark.parametrize(
    ("row", "box"),
    [
        (".5 .5 1.0004 .1", [0.5, 0.5, 1, 0.1]),
        (".5 .5 .1 1.0004", [0.5, 0.5, 0.1, 1]),
        (".3 .5 1.2 .2", [0.45, 0.5, 0.9, 0.2]),  # -.3 to .9: what is seen of it
        ("1 .5 2 .2", [0.5, 0.5, 1, 0.2]),
    ],
)
def test_a_box_larger_than_the_image_is_clipped_not_dropped(
    tmp_path: Path, row: str, box: list[float]
) -> None:
    rows, problems = labels_of(tmp_path, f"0 {row}\n")
    assert problems == []
    np.testing.assert_allclose(rows, [[0, *box]], atol=1e-6)


def test_a_score_in_a_sixth_column_changes_nothing(tmp_path: Path) -> None:
    plain, _ = labels_of(tmp_path, "0 .5 .5 .2 .2\n1 .4 .4 .1 .3\n")
    scored, problems = labels_of(tmp_path, "0 .5 .5 .2 .2 0.873\n1 .4 .4 .1 .3 1\n")
    assert problems == []
    np.testing.assert_array_equal(plain, scored)


def test_a_class_without_a_name_keeps_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.names").write_text("cat\n\n  dog \n\n\n")
    assert load_names(tmp_path / "a.names") == ("cat", "1", "dog")
    assert "a.names:2: no name for class 1" in caplog.text
    caplog.clear()
    (tmp_path / "a.names").write_text("cat\ndog\n\n")
    assert load_names(tmp_path / "a.names") == ("cat", "dog")
    assert not caplog.records


def test_written_names_keep_their_places(tmp_path: Path) -> None:
    path = tmp_path / "a.names"
    path.write_text(names_text(["cat", "", "two\nlines", "  ", " dog "]))
    assert load_names(path) == ("cat", "1", "two lines", "3", "dog")


# A whole list


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Two usable images (one with a bad row) among five."""
    write_sample(tmp_path, "good.png", noise_picture(8, 8, 0), [(0, 0.5, 0.5, 0.5, 0.5)])
    write_sample(tmp_path, "row.png", noise_picture(8, 8, 1), "0 .5 .5 .5 .5\n9 .5 .5 .5 .5\n")
    write_sample(tmp_path, "label.png", noise_picture(8, 8, 2), "")
    (tmp_path / "labels" / "label.txt").write_bytes(b"\0" * 99)
    (tmp_path / "images" / "text.jpg").write_text("not an image")
    return write_list(tmp_path, ["good.png", "none.png", "row.png", "label.png", "text.jpg"])


def test_problems_make_one_warning_and_strict_an_error(
    broken: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = DetectionDataset(broken, NC, (32, 32))
    assert [sample.path.name for sample in dataset.samples] == ["good.png", "row.png"]
    labels = broken.parent / "labels"
    assert [problem.where for problem in dataset.problems] == [
        f"{broken}:2", f"{labels / 'row.txt'}:2", f"{labels / 'label.txt'}:1", f"{broken}:5",
    ]  # fmt: skip
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1
    assert "4 problems" in warnings[0]
    assert f"{broken}:2: {broken.parent / 'images/none.png'}: no such image" in warnings[0]
    with pytest.raises(UserError, match="4 problems") as caught:
        DetectionDataset(broken, NC, (32, 32), strict=True)
    assert "\n" not in str(caught.value)


def test_a_sound_list_is_silent_even_when_strict(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = DetectionDataset(make_set(tmp_path), NC, (32, 32), strict=True)
    assert dataset.problems == ()
    assert not caplog.records


def test_a_list_without_any_usable_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of its 2 images is usable"):
        load_samples(write_list(tmp_path, ["a.png", "b.png"]), NC)


def test_no_label_file_at_all_is_pointed_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_image(tmp_path / "images" / "a.png", noise_picture(8, 8, 0))
    write_image(tmp_path / "images" / "b.png", noise_picture(8, 8, 1))
    path = write_list(tmp_path, ["a.png", "b.png"])
    assert len(DetectionDataset(path, NC, (32, 32))) == 2
    assert "none of its images has a label file" in caplog.text
    caplog.clear()
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("")
    DetectionDataset(path, NC, (32, 32))
    assert not caplog.records


def test_class_counts_and_balance_weights(tmp_path: Path) -> None:
    for name, classes in (("a", [0, 0, 0]), ("b", [0, 1]), ("c", []), ("d", [0])):
        rows = [(c, 0.5, 0.5, 0.2, 0.2) for c in classes]
        write_sample(tmp_path, f"{name}.png", noise_picture(8, 8, 0), rows)
    samples, _ = load_samples(write_list(tmp_path, ["a.png", "b.png", "c.png", "d.png"]), NC)
    assert class_counts(samples, NC).tolist() == [5, 1, 0]
    np.testing.assert_allclose(class_balance_weights(samples, NC), [0.6, 1.2, 0.2, 0.2])
    assert class_balance_weights([samples[2]], NC).tolist() == [1.0]


@pytest.mark.parametrize(("name", "counts"), [("bccd", (292, 3941)), ("cards", (296, 527))])
def test_real_sets_are_read_whole(shared: Path, name: str, counts: tuple[int, int]) -> None:
    spec = load_data_file(shared / "datasets" / name / f"{name}.data")
    samples, problems = load_samples(spec.require("train"), spec.nc)
    assert (len(samples), sum(len(sample.labels) for sample in samples)) == counts
    assert problems == []
