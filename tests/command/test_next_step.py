"""Commands to copy."""

from __future__ import annotations

import shlex
from pathlib import Path

from utils.command.words.next_step import next_steps


def test_words_are_quoted_for_a_shell() -> None:
    words = ["python", "val.py", "--weights", Path("my runs/best.pt"), "--batch-size", 4]
    text = next_steps({"score": words, "detect": ["python", "detect.py"]})
    lines = text.splitlines()
    assert lines[0] == "Next, to score:" and lines[2] == "Next, to detect:"
    assert shlex.split(lines[1]) == [str(word) for word in words]
    assert lines[3] == "  python detect.py"
