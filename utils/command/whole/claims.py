"""One command at a time for each output: the second one says so instead of overwriting the first.

The lock is the operating system's, on a small file beside the output: a process that dies keeps
nothing, whatever killed it, and its file is taken over by the next.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .temporary import PREFIX

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: two commands at once are not told apart there
    fcntl = None  # type: ignore[assignment]

_BUSY = "another command is at work on it; wait for that, or name another place"


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
    claim = _held.get(key)
    if claim is None or claim.owner != os.getpid():
        claim = _held[key] = _made(output)
    claim.times += 1
    try:
        yield
    finally:
        claim.times -= 1  # whoever is the last to need it, in whatever order they came
        if not claim.times and claim.owner == os.getpid():  # a forked child leaves it its parent
            _held.pop(key, None)
            claim.release()


@dataclass
class _Claim:
    """What this process holds of one output, and what goes when nobody needs it any more."""

    handle: int
    lock: Path
    made: list[Path]
    owner: int
    times: int = 0

    def release(self) -> None:
        if self.handle >= 0:
            with suppress(OSError):
                self.lock.unlink(missing_ok=True)
            os.close(self.handle)
        _remove_empty(self.made)


_held: dict[str, _Claim] = {}  # by output


def _made(output: Path) -> _Claim:
    """A new claim. Raises OSError."""
    made = [folder for folder in output.parents if not folder.exists()]
    lock = output.with_name(f"{PREFIX}lock.{output.name}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        handle = -1 if fcntl is None else _locked(lock)
    except OSError:
        _remove_empty(made)
        raise
    return _Claim(handle, lock, made, os.getpid())


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
