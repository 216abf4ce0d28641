"""Long commands under single faults, on full disks, in folders that go away, and killed at random.

Each stops in one line, leaves nothing in part, and goes on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.every import check, of_a_long_command
from tests.faults.kills import kills_of
from tests.faults.long_commands import CASES, Case, going_on, write_start
from tests.faults.shim import Fault, fresh, run, state

SAMPLE = {"train": 1, "sensitivity": 2}  # of the default suite: faults of each


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long") / "start"
    write_start(folder)
    return folder


@pytest.mark.parametrize("name", SAMPLE)
def test_some_faults(name: str, start: Path, tmp_path: Path) -> None:
    tally = of_a_long_command(CASES[name], start, tmp_path, SAMPLE[name])
    assert (tally.tried, tally.failures) == (SAMPLE[name], [])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_fault(name: str, start: Path, tmp_path: Path) -> None:
    tally = of_a_long_command(CASES[name], start, tmp_path, sys.maxsize)
    assert tally.failures == []
    assert tally.stopped > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_twenty_kills(name: str, tmp_path: Path) -> None:
    assert kills_of(CASES[name], f"0 {name}", 20, tmp_path) == []


def test_a_kill_is_noticed_where_it_leaves_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a command that ends with other bytes after a stop."""

    starts = tmp_path / "starts"

    def forgetful(argv: list[str]) -> None:
        with starts.open("a") as file:
            file.write("x")
        time.sleep(0.1)
        # Twice it runs undisturbed: for its imports, and for its time and its bytes.
        Path("out").write_text("undisturbed" if starts.stat().st_size <= 2 else "something else")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "start").mkdir()
    case = Case(forgetful, [], [], "", ("out",))
    faults = kills_of(case, "0", 2, tmp_path)
    assert len(faults) >= 2  # one more where the command had ended before it was killed
    assert all("out differs" in line for line in faults)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(
    ("name", "free_kib"),
    [
        ("export-darknet", 4), ("sensitivity", 4),
        *[pytest.param("train", kib, marks=pytest.mark.slow) for kib in (8, 28, 60)],
        *[pytest.param("iterative_prune", kib, marks=pytest.mark.slow) for kib in (8, 28, 60)],
        *[pytest.param("compress", kib, marks=pytest.mark.slow) for kib in (8, 60)],
        *[pytest.param("export", kib, marks=pytest.mark.slow) for kib in (0, 8)],
    ],
)  # fmt: skip
def test_a_disk_that_is_full(name: str, free_kib: int, start: Path, small_disk: Path) -> None:
    """With room again, it goes on to its end."""
    shutil.copytree(start, small_disk, dirs_exist_ok=True)
    free = os.statvfs(small_disk)
    filler = small_disk.parent / "disk" / "filler"
    filler.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - (free_kib << 10))))
    before = state(small_disk)
    ended = run(CASES[name].main, CASES[name].argv, Fault(), small_disk)
    check(CASES[name], ended, before, small_disk)
    if ended.status:
        assert "No space left on device" in ended.errors[0]
        filler.unlink()
        assert going_on(CASES[name], small_disk).status == 0


@pytest.mark.slow
def test_a_folder_that_goes_away(start: Path, tmp_path: Path) -> None:
    """The run's folder is removed in the middle; the command ends in one line."""
    folder = fresh(start, tmp_path / "work")
    train = CASES["train"]
    place = folder / "runs" / "train" / "r"

    def remove() -> None:
        while not (place / "last.pt").exists():
            time.sleep(0.01)
        while place.exists():
            shutil.rmtree(place, ignore_errors=True)

    remover = threading.Thread(target=remove, daemon=True)
    remover.start()
    ended = run(train.main, [*train.argv, "--epochs", "60"], Fault(), folder)
    remover.join(5)
    assert "Traceback" not in ended.said
    assert (ended.status, len(ended.errors)) == (2, 1), ended.said


def test_a_folder_that_cannot_be_written_to(start: Path, small_disk: Path) -> None:
    """For root too: the file system itself is read-only."""
    shutil.copytree(start, small_disk, dirs_exist_ok=True)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    before = state(small_disk)
    for name in ("train", "sensitivity", "iterative_prune", "export-darknet", "compress"):
        ended = run(CASES[name].main, CASES[name].argv, Fault(), small_disk)
        assert (ended.status, len(ended.errors)) == (2, 1), ended.said
        assert "Read-only file system" in ended.errors[0]
    assert state(small_disk) == before
