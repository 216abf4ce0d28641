"""Files and folders under way: beside their target, known as ours, and gone if we are.

Each is held by a lock of the operating system while its process lives. So the next command that
writes to a folder can tell what a killed one has left there, and removes it.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no such locks: leftovers stay there
    fcntl = None  # type: ignore[assignment]

PREFIX = ".darkslim-"
_OURS = re.compile(r"\.darkslim-[0-9a-f]{8}\..")
_TRIES = 100

logger = logging.getLogger(__name__)
_swept: set[tuple[int, int]] = set()  # folders (device, inode) that this process has looked through


def name_beside(target: Path, mark: str = "") -> Path:
    """A path beside `target` that nobody has; the last part of the name stays, for its suffix."""
    return target.with_name(f"{PREFIX}{mark}{secrets.token_hex(4)}.{target.name}")


@contextmanager
def temporary_file(target: Path, mark: str = "") -> Iterator[Path]:
    """An empty file beside `target`, deleted at the end if it is still there. Raises OSError."""
    remove_leftovers(target.parent)
    path, handle = _made(target, mark)
    try:
        yield path
    finally:
        os.close(handle)
        with suppress(OSError):  # of a folder that has gone away, say: the first error counts
            path.unlink(missing_ok=True)


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target`, deleted at the end if it is still there. Raises OSError."""
    remove_leftovers(target.parent)
    path = name_beside(target)
    path.mkdir()
    handle = _locked(path)
    try:
        yield path
    finally:
        if handle is not None:
            os.close(handle)
        shutil.rmtree(path, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed commands have left in a folder; looks once per process."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in _swept:
            return
        _swept.add((status.st_dev, status.st_ino))
        found = [entry.path for entry in os.scandir(folder) if _OURS.match(entry.name)]
    except OSError:
        return  # what cannot be read cannot be written to either: who writes says so
    for path in map(Path, found):
        remove_if_left(path)


def remove_if_left(path: Path) -> None:
    """Remove a file or folder of ours unless a process that lives is at work on it."""
    handle = _locked(path)
    if handle is None:
        return
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        logger.info("%s: left by a command that was stopped: removed", path)
    except OSError:
        pass  # somebody else's: it does no harm where it is
    finally:
        os.close(handle)


def sync(path: Path) -> None:
    """Let a file's bytes be on the disk: a name that came first could outlive them."""
    with path.open("rb") as written:
        os.fsync(written.fileno())


def sync_folder(folder: Path) -> None:
    """Let a folder's names be on the disk, where its file system can say so."""
    with suppress(OSError):  # some cannot; the names are there, if not yet safe from a power cut
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _made(target: Path, mark: str) -> tuple[Path, int]:
    """A new file and the handle that holds it."""
    for _ in range(_TRIES):
        path = name_beside(target, mark)
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        _lock(handle)
        if path.exists():  # else another process took it for left over in between
            return path, handle
        os.close(handle)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(target))


def _lock(handle: int) -> bool:
    """Whether nobody else holds it; it is held until the last copy of the handle is closed."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _locked(path: Path) -> int | None:
    """A handle that holds a path; None where another process does, or where nobody can tell."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | _NO_WAITING)
    except OSError:
        return None
    if _lock(handle):
        return handle
    os.close(handle)
    return None


_NO_WAITING = getattr(os, "O_NONBLOCK", 0)  # a named pipe would wait for its writer
