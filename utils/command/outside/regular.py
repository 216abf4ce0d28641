"""Whether a path is a plain file: reading a named pipe or a device waits, or never ends."""

from __future__ import annotations

import stat
from pathlib import Path


def is_special(path: str | Path) -> bool:
    """Whether it is a pipe, a socket or a device. Raises OSError for a path that is not there."""
    kind = Path(path).stat().st_mode
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))
