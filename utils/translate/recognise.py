"""Is a file a checkpoint of ultralytics? Answered from its bytes: nothing of it is opened."""

from __future__ import annotations

import zipfile
from pathlib import Path

_PICKLE, _MOST_BYTES = "/data.pkl", 64 << 20


def is_ultralytics(path: str | Path) -> bool:
    """Whether the archive's pickle names a class of that library; False for what is no archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [entry for entry in archive.infolist() if entry.filename.endswith(_PICKLE)]
            if len(found) != 1 or found[0].file_size > _MOST_BYTES:
                return False
            return b"ultralytics." in archive.read(found[0])
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError):
        return False
