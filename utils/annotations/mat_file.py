"""Corners of hands in MATLAB files, read in a process of their own.

scipy's reader (1.17.1) ends the process that it runs in at some damaged files, and finds no end at
others. So files are handed to a second one, line by line; where that ends or is silent for too
long, the file it was at is left out and another goes on.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..command.optional import load

_ROOT = Path(__file__).resolve().parents[2]
_MOST_S = 10.0  # of a file of some kilobytes, with the start of Python and scipy
Corners = list[list[list[float]]]  # of each hand the corners a, b, c, d, each (y, x)


def corners_in(paths: Sequence[Path]) -> Iterator[Corners | None]:
    """Of each file in turn; None for one that cannot be read as such."""
    left = [str(path.resolve()) for path in paths]
    while left:
        words = [sys.executable, "-m", __name__]
        with subprocess.Popen(
            words, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdin is not None and reader.stdout is not None
            while left:
                found = _answer(reader, left.pop(0))
                yield found[0] if found else None
                if not found:
                    break
            reader.kill()


def _answer(reader: subprocess.Popen[str], path: str) -> list[Corners | None]:
    """What the reader says of a file, in a list; an empty one where it has ended."""
    assert reader.stdin is not None and reader.stdout is not None
    patience = threading.Timer(_MOST_S, reader.kill)
    patience.start()
    try:
        reader.stdin.write(json.dumps(path) + "\n")
        reader.stdin.flush()
        line = reader.stdout.readline()
    except BrokenPipeError:
        return []
    finally:
        patience.cancel()
    return [json.loads(line)] if line.endswith("\n") else []


def _corners(path: str) -> Corners | None:
    try:
        content = load("scipy.io").loadmat(path, squeeze_me=False)
        cells = content["boxes"].ravel()
        hands = [[np.ravel(cell[0, 0][corner])[:2] for corner in "abcd"] for cell in cells]
        points = np.array(hands, dtype=float).reshape(-1, 4, 2)
    except Exception:  # scipy's errors at damaged files share no base class of their own
        return None
    return points.tolist() if np.isfinite(points).all() else None


def _serve() -> None:
    for line in sys.stdin:
        print(json.dumps(_corners(json.loads(line))), flush=True)


if __name__ == "__main__":
    _serve()
