"""How commands end where the system refuses: one line, status 2, whatever was asked of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import errno, os
from utils.command.cli import run_main
from utils.command.errors import UserError

def main(argv):
    {what}

run_main(main)
"""


def ended(root: Path, what: str, out: str = "/dev/null") -> tuple[int, str]:
    with open(out, "w") as file:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(what=what)],
            cwd=root, stdout=file, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("open('/proc/none/x', 'w')", "error: /proc/none/x: No such file or directory\n"),
        (
            "raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'a.pt')",
            "error: a.pt: No space left on device\n",
        ),
        ("raise UserError('a\\nb')", "error: a b\n"),
    ],
)
def test_one_line(root: Path, what: str, said: str) -> None:
    assert ended(root, what) == (2, said)


def test_a_long_value_is_not_repeated_whole(root: Path) -> None:
    status, said = ended(root, "raise UserError('f: ' + 'x' * 100_000 + ' is no number')")
    assert status == 2
    assert len(said) < 1100
    assert said.startswith("error: f: xx")
    assert said.endswith("is no number\n")


@pytest.mark.parametrize("lines", [1, 100_000])
def test_no_room_for_what_it_prints(root: Path, lines: int) -> None:
    what = f"print('x\\\\n' * {lines})"
    status, said = ended(root, what, "/dev/full")
    assert status == 2
    assert said == "error: what it prints cannot be written (No space left on device)\n"


def test_a_fault_of_ours_shows_where_it_is(root: Path) -> None:
    status, said = ended(root, "raise KeyError('ours')")
    assert status == 1
    assert "Traceback" in said
