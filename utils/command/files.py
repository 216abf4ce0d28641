"""Writing files whole or not at all, and recognising what a file really is."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a fresh path beside `path`, renamed onto it when the block succeeds, else deleted.

    The last part of the name is kept (`.weights`, `.png`, ...), since some writers look at it.
    Raises UserError when the folder is missing or cannot be written to.
    """
    target = Path(path)
    temporary = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})") from None
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """Hexadecimal digest of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def require_file(path: str | Path, what: str) -> Path:
    """`path` as a Path when it is a readable file; UserError naming `what` otherwise."""
    found = Path(path)
    if found.is_dir():
        raise UserError(f"{found}: is a folder, but {what} must be a file")
    if not found.is_file():
        raise UserError(f"{found}: no such file ({what})")
    return found
