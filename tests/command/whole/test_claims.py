"""Two commands at one output: the second is told, and a dead one keeps nothing."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from utils.command.errors import UserError
from utils.command.files import alone
from utils.command.folders import whole_folder

HOLD = """
import sys, time
from utils.command.files import alone
with alone(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(root: Path, place: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", HOLD, str(place)]
    process = subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_and_a_dead_one_keeps_nothing(root: Path, tmp_path: Path) -> None:
    place = tmp_path / "deep" / "out"
    with holder(root, place) as first:
        with (
            pytest.raises(UserError, match="another command is at work on it"),
            alone(tmp_path / "free", place),
        ):
            pass
        with pytest.raises(UserError, match="at work"), whole_folder(place, "--output"):
            pass
        first.kill()
    with alone(place):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "deep"]
    assert list(place.parent.iterdir()) == []


def test_parts_of_one_command_ask_again(tmp_path: Path) -> None:
    with alone(tmp_path / "out"):
        with alone(tmp_path / "out"):
            pass
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_parts_may_end_in_any_order(tmp_path: Path) -> None:
    first, second = ExitStack(), ExitStack()
    for stack in (first, second):
        stack.enter_context(alone(tmp_path / "out"))
    first.close()
    assert len(list(tmp_path.iterdir())) == 1
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_folders_made_for_nothing_go_again(tmp_path: Path) -> None:
    with alone(tmp_path / "a" / "b" / "out"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), alone(tmp_path / "file" / "out"):
        pass
