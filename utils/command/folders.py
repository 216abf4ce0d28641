"""Writing a folder of files whole or not at all, and never over something else by accident."""

from __future__ import annotations

import itertools
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError


def require_free(folder: str | Path, flag: str, force: bool = False) -> Path:
    """`folder`, if nothing stands there (an empty folder is nothing) or `force` is given.

    Raises UserError, which names `flag`.
    """
    path = Path(folder)
    try:
        if path.exists() and not path.is_dir():
            raise UserError(f"{flag} {path}: is a file; name a folder")
        if not force and path.is_dir() and any(path.iterdir()):
            raise UserError(f"{flag} {path}: holds other files; name a new folder")
    except OSError as error:
        raise UserError(f"{flag} {path}: cannot be used ({error.strerror})") from None
    return path


def first_free(folder: str | Path) -> Path:
    """FOLDER, or FOLDER-2, FOLDER-3, ... if something stands there already."""
    path = Path(folder)
    names = (path.name if n == 1 else f"{path.name}-{n}" for n in itertools.count(1))
    return next(found for name in names if not (found := path.with_name(name)).exists())


@contextmanager
def whole_folder(folder: str | Path, flag: str, force: bool = False) -> Iterator[Path]:
    """Yield a fresh folder beside `folder`; when the block succeeds, its files become `folder`'s.

    With `force` they join what stands there, and replace files of their own names only. When the
    block fails, nothing is left of it. Raises UserError when the place is taken or not writable.
    """
    target = require_free(folder, flag, force)
    fresh = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh.mkdir()
    except OSError as error:
        raise UserError(f"{flag} {target}: cannot be made ({error.strerror})") from None
    try:
        yield fresh
        require_free(target, flag, force)
        if target.is_dir() and any(target.iterdir()):
            for file in sorted(fresh.iterdir()):
                file.replace(target / file.name)
        else:
            if target.is_dir():
                target.rmdir()
            fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
