"""Ctrl-C while a command imports what it needs: a word, the status that shells give."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Imported in place of a module: the interrupt comes within.
_AT_ONCE = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
_CUT_IN_TWO = "try:\n    {0}\nexcept KeyboardInterrupt:\n    raise ImportError('cannot load')\n"


def _heeds_interrupts() -> None:
    """As from a terminal: what a shell starts in the background is started deaf to them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ended(root: Path, folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(folder), str(root)])
    return subprocess.run(
        [sys.executable, *words], env={**os.environ, "PYTHONPATH": paths},
        cwd=folder, capture_output=True, text=True, check=False, preexec_fn=_heeds_interrupts,
    )  # fmt: skip


def test_convert_ends_as_a_shell_has_it(root: Path, tmp_path: Path) -> None:
    """Its wrapper hands on that a signal has ended the command; `difflib` is any module of it."""
    (tmp_path / "difflib.py").write_text(_AT_ONCE)
    done = ended(root, tmp_path, [str(root / "data" / "convert.py"), "--help"])
    assert done.returncode == 128 + signal.SIGINT


PROGRAM = """
from utils.command.cli import run_main

def main(argv):
    import library

run_main(main)
"""


@pytest.mark.parametrize("met", [True, False])
def test_a_library_that_makes_an_import_error_of_it(root: Path, tmp_path: Path, met: bool) -> None:
    kill = "\n    ".join(_AT_ONCE.splitlines()) if met else "raise KeyboardInterrupt"
    (tmp_path / "library.py").write_text(_CUT_IN_TWO.format(kill))
    done = ended(root, tmp_path, ["-c", PROGRAM])
    assert ("Traceback" in done.stderr) is not met
    assert done.returncode == (130 if met else 1)
