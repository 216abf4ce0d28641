"""`command | head`: the reader goes, the work is done all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging, sys
from pathlib import Path
from utils.command.cli import run_main
from utils.command.errors import UserError

def main(argv):
    for number in range(20_000):
        print("line", number)
    logging.getLogger("x").info("and a word")
    Path(sys.argv[1]).write_text("done")
    if sys.argv[2] == "fail":
        raise UserError("no")

run_main(main)
"""


MISSING = """
from utils.command.cli import run_main

def main(argv):
    raise ModuleNotFoundError("none", name={name!r})

run_main(main)
"""


@pytest.mark.parametrize(("name", "told"), [("terminaltables", True), ("of_the_user", False)])
def test_without_the_environment_a_command_says_how_to_make_it(
    root: Path, name: str, told: bool
) -> None:
    words = [sys.executable, "-c", MISSING.format(name=name)]
    found = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    assert ("make setup" in found.stderr) is told
    assert ("Traceback" in found.stderr) is not told
    assert found.returncode == (2 if told else 1)


@pytest.mark.parametrize(("end", "status"), [("well", 0), ("fail", 2)])
@pytest.mark.parametrize("stderr", [subprocess.DEVNULL, subprocess.STDOUT])
def test_a_reader_that_goes_stops_nothing(
    root: Path, tmp_path: Path, end: str, status: int, stderr: int
) -> None:
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "file"), end]
    with subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, stderr=stderr) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"line 0\n"
        process.stdout.close()
        assert process.wait(30) == status
    assert (tmp_path / "file").read_text() == "done"


def test_who_reads_on_gets_all(root: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "file"), "well"]
    run = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "line 19999"
    assert run.stderr == "INFO: and a word\n"
