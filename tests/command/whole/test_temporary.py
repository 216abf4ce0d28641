"""What a killed command leaves is removed by the next; what a living one is at stays."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from utils.command import files
from utils.command.errors import UserError
from utils.command.files import atomic_write
from utils.command.whole import temporary
from utils.command.whole.temporary import temporary_file, temporary_folder


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is looked through once per process; each test is one."""
    monkeypatch.setattr(temporary, "_swept", set())


def in_a_child(folder: Path, end: bool) -> int:
    """A process with a file and a folder under way, that dies or sleeps; its number."""
    child = os.fork()
    if not child:
        with temporary_file(folder / "a.txt") as path, temporary_folder(folder / "b"):
            path.write_text("half")
            (folder / "begun").touch()
            if end:
                os._exit(9)
            time.sleep(60)
        os._exit(0)
    while not (folder / "begun").exists():
        time.sleep(0.01)
    return child


def hidden(folder: Path) -> list[str]:
    return sorted(path.name[-6:] for path in folder.glob(".darkslim-*"))


def test_leftovers_of_the_dead_go_those_of_the_living_stay(tmp_path: Path) -> None:
    child = in_a_child(tmp_path, end=False)
    (tmp_path / ".darkslim-mine.txt").write_text("of the user's")
    try:
        with atomic_write(tmp_path / "c.txt") as path:
            path.write_text("whole")
        assert len(hidden(tmp_path)) == 3
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    temporary._swept.clear()
    with atomic_write(tmp_path / "c.txt") as path:
        path.write_text("whole")
    assert hidden(tmp_path) == ["ne.txt"]
    assert (tmp_path / "c.txt").read_text() == "whole"


def test_the_dead_ones_go_at_once(tmp_path: Path) -> None:
    os.waitpid(in_a_child(tmp_path, end=True), 0)
    assert len(hidden(tmp_path)) == 2
    with atomic_write(tmp_path / "c.txt") as path:
        path.write_text("whole")
    assert hidden(tmp_path) == []


def test_bytes_are_safe_before_the_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut leaves is one of the two files, never an empty one of the new name."""
    done: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "bytes")
        real_fsync(handle)

    def replace(self: Path, target: Path) -> Path:
        done.append("name")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    with atomic_write(tmp_path / "c.txt") as path:
        path.write_text("whole")
    assert done == ["bytes", "name", "folder"]
    done.clear()
    with files.all_or_none(tmp_path / "c.txt", tmp_path / "d.txt") as fresh:
        for path in fresh:
            path.write_text("whole")
    note, names = ["bytes", "name", "folder"], ["name", "name", "folder"]
    assert done == ["bytes", "bytes", *note, *names]


@pytest.mark.parametrize("number", [28, 5, 13])
def test_a_disk_that_refuses_is_one_line(tmp_path: Path, number: int) -> None:
    (tmp_path / "c.txt").write_text("old")
    reason = os.strerror(number).replace("/", ".")
    with (
        pytest.raises(UserError, match=rf"c\.txt: cannot be written \({reason}\)$"),
        atomic_write(tmp_path / "c.txt") as path,
    ):
        raise OSError(number, os.strerror(number), str(path))
    assert [path.name for path in tmp_path.iterdir()] == ["c.txt"]
    assert (tmp_path / "c.txt").read_text() == "old"
