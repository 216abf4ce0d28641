"""`.ci/`: the run ends as pytest does, and the count of lines tells what a change adds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# In place of an environment: tells what it is asked to run, and fails as pytest would if told to.
PYTHON = """#!/bin/sh
echo "asked: $*"
if [ "$2" = "$FAILING" ]; then echo "1 failed"; exit 5; fi
"""
needs_make = pytest.mark.skipif(not shutil.which("make"), reason="needs make")
needs_git = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


def copied(root: Path, folder: Path) -> Path:
    shutil.copytree(root / ".ci", folder / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "Makefile", folder)
    return folder


def run_ci(root: Path, folder: Path, failing: str) -> subprocess.CompletedProcess[str]:
    """`.ci/run` with an environment that make has not made: it is used as it is."""
    copied(root, folder)
    python = folder / "mine" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    # A make around this test (`make test`) must not have a say.
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    environment |= {"CI_VENV": str(folder / "mine"), "FAILING": failing}
    command = ["bash", str(folder / ".ci" / "run")]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


TESTS = "asked: -m pytest -n auto --maxprocesses 4 --dist worksteal"


@needs_make
@pytest.mark.parametrize(
    ("failing", "code", "last"), [("nothing", 0, TESTS), ("pytest", 5, "1 failed")]
)
def test_a_run_ends_as_pytest_does(
    failing: str, code: int, last: str, root: Path, tmp_path: Path
) -> None:
    done = run_ci(root, tmp_path, failing)
    assert done.returncode == code, done.stderr
    asked = [line for line in done.stdout.splitlines() if line.startswith("asked:")]
    assert asked == [
        "asked: -m ruff check .",
        "asked: -m ruff format --check .",
        "asked: -m mypy",
        "asked: .ci/rooms.py",
        TESTS,
    ]
    assert done.stdout.splitlines()[-1] == last
    assert done.stderr == ""


@needs_make
def test_a_run_stops_at_the_first_thing_that_fails(root: Path, tmp_path: Path) -> None:
    done = run_ci(root, tmp_path, "mypy")
    assert done.returncode != 0
    assert "asked: -m mypy" in done.stdout
    assert "asked: -m pytest" not in done.stdout


class Repository:
    """A small one with `.ci/rooms.py`, a room of utils, and a command."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = copied(root, folder)
        self.write("utils/cfg/a.py", 10)
        self.write("prune.py", 3)

    def write(self, name: str, lines: int) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n" * lines)

    def git(self, *words: str) -> None:
        named = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
        subprocess.run(["git", *named, *words], cwd=self.folder, check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "x")

    def told(self, *revision: str) -> tuple[dict[str, list[int]], str]:
        """The numbers of each room, and the last line."""
        command = [sys.executable, ".ci/rooms.py", *revision]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True)
        head, *rows, last = done.stdout.splitlines()
        assert head.split() == ["room", "files", "lines", "+files", "+lines"]
        numbers = {row[:22].strip(): row[22:].replace(",", "").split() for row in rows}
        return {room: [int(number) for number in told] for room, told in numbers.items()}, last


@needs_git
def test_lines_of_each_room_and_what_a_change_adds(root: Path, tmp_path: Path) -> None:
    mine = Repository(root, tmp_path / "mine")
    mine.git("init", "-q")
    mine.commit()
    mine.write("utils/cfg/b/c.py", 5)
    mine.commit()
    table, last = mine.told()
    assert table["utils/cfg"] == [2, 15, 1, 5]
    assert table["(commands)"] == [1, 3]
    assert "the commit before the last" in last
    mine.write("utils/cfg/a.py", 4)  # not committed
    (mine.folder / "prune.py").rename(mine.folder / "slim_prune.py")
    mine.write("tests/test_a.py", 7)  # nor known to git
    table, last = mine.told()
    assert table["utils/cfg"] == [2, 9, 0, -6]
    assert table["(commands)"] == [1, 3]
    assert table["= product"] == [3, 12, 0, -6]
    assert table["= tests"] == [1, 7, 1, 7]
    assert "the last commit" in last
    assert mine.told("HEAD^")[0]["utils/cfg"] == [2, 9, 1, -1]


@needs_git
def test_a_branch_is_compared_with_where_it_left_main(root: Path, tmp_path: Path) -> None:
    """In a clone with origin/main, whatever happened to main since; and in one without a remote."""
    first = Repository(root, tmp_path / "first")
    first.git("init", "-q", "-b", "main")
    first.commit()
    first.git("clone", "-q", ".", str(tmp_path / "clone"))
    clone = Repository.__new__(Repository)
    clone.folder = tmp_path / "clone"
    for mine in (clone, first):
        mine.git("checkout", "-q", "-b", "work")
        for lines in (11, 12):
            mine.write("utils/cfg/a.py", lines)
            mine.commit()
        table, last = mine.told()
        assert table["utils/cfg"] == [1, 12, 0, 2]
        assert ("origin/main" in last) == (mine is clone)


def test_without_git_there_is_no_change(root: Path, tmp_path: Path) -> None:
    table, last = Repository(root, tmp_path / "mine").told()
    assert table["utils/cfg"] == [1, 10]
    assert last.startswith("= all")
