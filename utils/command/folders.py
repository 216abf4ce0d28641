"""Writing a folder of files whole or not at all, and never over something else by accident."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError
from .files import all_or_none, alone, cannot_write
from .whole.temporary import sync, sync_folder, temporary_folder

_FEW = 100


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
    with alone(target):
        try:
            with temporary_folder(target) as fresh:
                yield fresh
                require_free(target, flag, force)
                _put(fresh, target)
        except OSError as error:
            raise cannot_write(f"{flag} {target}", error) from None


@contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """A folder for work beside `beside`, which goes with all in it. Raises UserError."""
    try:
        with temporary_folder(beside) as folder:
            yield folder
    except OSError as error:
        raise cannot_write(beside, error) from None


def put_together(made: Sequence[Path], targets: Sequence[Path]) -> None:
    """Move files of one file system to their places, all or none. Raises UserError."""
    with all_or_none(*targets) as fresh:
        for source, place in zip(made, fresh, strict=True):
            source.replace(place)


def _put(fresh: Path, target: Path) -> None:
    """Move a finished folder, or where the place is taken its files, into place."""
    _sync_below(fresh)
    files = sorted(fresh.iterdir())
    if target.is_dir() and any(target.iterdir()):
        if any(file.is_dir() for file in files):
            raise UserError(f"{target}: holds other files; name a new folder")
        put_together(files, [target / file.name for file in files])
        return
    if target.is_dir():
        target.rmdir()
    fresh.rename(target)
    sync_folder(target.parent)


def _sync_below(folder: Path) -> None:
    """Each file by itself; of very many, all that the system holds at once."""
    paths = sorted(folder.rglob("*"))
    if len(paths) > _FEW:
        os.sync()
        return
    for path in paths:
        if path.is_file() and not path.is_symlink():
            sync(path)
        elif path.is_dir():
            sync_folder(path)
