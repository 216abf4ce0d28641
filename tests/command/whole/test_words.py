"""What is said of a place that cannot be written to: which file, and why."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from utils.command.files import cannot_write


def refusal(code: int, named: str) -> str:
    return str(cannot_write("new.weights", OSError(code, os.strerror(code), named)))


def test_a_full_disk_is_that_of_the_target(tmp_path: Path) -> None:
    """A copy's error names what it reads, which has room; of other reasons that file counts."""
    old = tmp_path / "old.weights"
    old.write_text("")
    full = "new.weights: cannot be written (No space left on device)"
    assert refusal(errno.ENOSPC, str(old)) == full
    assert refusal(errno.EACCES, str(old)).endswith(f"({old}: Permission denied)")
    assert refusal(errno.EACCES, "new.weights").endswith("(Permission denied)")
