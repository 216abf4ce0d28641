"""Silence for libraries that print past Python, or for their own steps what only they can read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .optional import quiet

_STDOUT, _STDERR = 1, 2


@contextmanager
def muted() -> Iterator[None]:
    """Nothing reaches the terminal, whoever writes; a command's own words come before and after."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(own, os.dup(own)) for own in (_STDOUT, _STDERR)]
    with Path(os.devnull).open("w") as nothing:
        for own, _ in kept:
            os.dup2(nothing.fileno(), own)
    try:
        with quiet():
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for own, copy in kept:
            os.dup2(copy, own)
            os.close(copy)
