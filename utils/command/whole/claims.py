"""One command at a time for each output: the second one says so instead of overwriting the first.

The lock is the operating system's, on a small file beside the output: a process that dies keeps
nothing, whatever killed it, and its file is taken over by the next.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from .temporary import PREFIX

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: two commands at once are not told apart there
    fcntl = None  # type: ignore[assignment]

_BUSY = "another command is at work on it; wait for that, or name another place"
_held: dict[str, int] = {}  # outputs of this process, and how many of its parts claim each


@contextmanager
def claimed(*outputs: str | Path) -> Iterator[None]:
    """Keep other commands from these files or folders; parts of one command may claim them again.

    Folders that are missing on the way are made, and removed if nothing has come into them. Raises
    OSError where another process is at work on one of them, or where nothing can be written.
    """
    with ExitStack() as stack:
        for output in outputs:
            stack.enter_context(_claimed(Path(output)))
        yield


@contextmanager
def _claimed(output: Path) -> Iterator[None]:
    key = os.path.realpath(output)
    if fcntl is None or key in _held:
        _held[key] = _held.get(key, 0) + 1
        try:
            yield
        finally:
            _held[key] -= 1
            if not _held[key]:
                del _held[key]
        return
    made = [folder for folder in output.parents if not folder.exists()]
    lock = output.with_name(f"{PREFIX}lock.{output.name}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        handle = _locked(lock)
    except OSError:
        _remove_empty(made)
        raise
    owner, _held[key] = os.getpid(), 1
    try:
        yield
    finally:
        _held.pop(key, None)
        if os.getpid() == owner:  # a forked child leaves it to its parent
            with suppress(OSError):
                lock.unlink(missing_ok=True)
            os.close(handle)
            _remove_empty(made)


def _locked(lock: Path) -> int:
    """A handle that holds the lock's file. Raises OSError, also where another process has it."""
    while True:
        handle = os.open(lock, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            # Of the process, not of the handle: a worker that outlives its parent keeps nothing.
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise BlockingIOError(errno.EBUSY, _BUSY) from None
        except OSError:
            return handle  # a file system without locks: go on as if alone
        with suppress(OSError):
            if os.path.samestat(lock.stat(), os.fstat(handle)):
                return handle
        os.close(handle)  # the one before removed the file between our two steps


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
