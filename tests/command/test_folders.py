"""Folders written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from utils.command.errors import UserError
from utils.command.folders import first_free, require_free, whole_folder


def fill(folder: Path, text: str = "new") -> None:
    (folder / "a.txt").write_text(text)
    (folder / "b.txt").write_text(text)


@pytest.mark.parametrize("empty_there", [False, True])
def test_a_new_folder(tmp_path: Path, empty_there: bool) -> None:
    target = tmp_path / "deep" / "out"
    if empty_there:
        target.mkdir(parents=True)
    with whole_folder(target, "--out") as fresh:
        fill(fresh)
        assert not (target / "a.txt").exists()
    assert sorted(path.name for path in target.iterdir()) == ["a.txt", "b.txt"]
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "out", "--out") as fresh:
        fill(fresh)
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_never_over_other_files(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("old")
    with pytest.raises(UserError, match=r"--out .*holds other files"):
        require_free(tmp_path / "out", "--out")
    with pytest.raises(UserError), whole_folder(tmp_path / "out", "--out") as fresh:
        fill(fresh)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_nor_over_files_that_came_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(UserError), whole_folder(target, "--out") as fresh:
        fill(fresh)
        target.mkdir()
        (target / "a.txt").write_text("other")
    assert (target / "a.txt").read_text() == "other"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_force_replaces_files_of_the_same_names_only(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "a.txt").write_text("old")
    (target / "mine.txt").write_text("old")
    with whole_folder(target, "--out", force=True) as fresh:
        fill(fresh)
    found = {path.name: path.read_text() for path in target.iterdir()}
    assert found == {"a.txt": "new", "b.txt": "new", "mine.txt": "old"}


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="is a file"):
        require_free(tmp_path / "out", "--out", force=True)
    with pytest.raises(UserError, match="cannot be"), whole_folder(tmp_path / "out" / "x", "--out"):
        pass


def test_first_free_counts_up(tmp_path: Path) -> None:
    assert first_free(tmp_path / "demo") == tmp_path / "demo"
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo-2").write_text("")
    assert first_free(tmp_path / "demo") == tmp_path / "demo-3"
