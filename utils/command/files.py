"""Writing files whole or not at all, and recognising what a file really is."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .errors import UserError
from .whole.claims import claimed
from .whole.temporary import PREFIX, sync, sync_folder, temporary_file
from .whole.together import finish_interrupted, note_path, together

_OF_THE_DISK = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a fresh path beside `path`, renamed onto it when the block succeeds, else deleted.

    The last part of the name is kept (`.weights`, `.png`, ...), since some writers look at it.
    Bytes are on the disk before the name is, and the name before this returns. Raises UserError
    when the folder is missing, cannot be written to, or is full.
    """
    target = Path(path)
    try:
        with temporary_file(target) as temporary:
            yield temporary
            sync(temporary)
            temporary.replace(target)
            sync_folder(target.parent)
    except OSError as error:
        raise cannot_write(target, error) from None


@contextmanager
def all_or_none(*targets: str | Path) -> Iterator[tuple[Path, ...]]:
    """Yield a fresh path beside each target; when the block succeeds, all become the targets.

    No kill leaves new files beside old ones without a trace: the next command that writes them
    finishes the work (`settle`), and `require_settled` tells a reader. Raises UserError where one
    cannot be written; all are then as they were.
    """
    try:
        with together(*targets) as fresh:
            yield fresh
    except OSError as error:
        raise cannot_write(targets[0], error) from None


@contextmanager
def alone(*outputs: str | Path) -> Iterator[None]:
    """Keep other commands from these files or folders; parts of one command may ask again.

    Raises UserError where another command is at work on one, or where nothing can be written.
    """
    with ExitStack() as stack:
        for output in outputs:
            try:
                stack.enter_context(claimed(output))
            except OSError as error:
                raise cannot_write(output, error) from None
        yield


def settle(*targets: str | Path) -> None:
    """Finish what a killed command began to put in place of these, and say so."""
    try:
        finish_interrupted([Path(target) for target in targets])
    except OSError as error:
        raise cannot_write(targets[0], error) from None


def require_settled(first: str | Path) -> None:
    """Raise UserError where a killed command has left a file and its companions half replaced."""
    if note_path(Path(first)).exists():
        raise UserError(
            f"{first}: a command was stopped while it replaced this file and those that belong to "
            "it; run that command again, which finishes it"
        )


def cannot_write(target: str | Path, error: OSError) -> UserError:
    """The error about `target`, or about the other file of the user's that failed on the way."""
    reason = error.strerror or str(error) or type(error).__name__
    named = error.filename if isinstance(error.filename, str) else ""
    if error.errno in _OF_THE_DISK:  # a copy names what it reads, which has all the room it needs
        named = ""
    if named and named != str(target) and (PREFIX not in named or Path(named).is_file()):
        return UserError(f"{target}: cannot be written ({named}: {reason})")
    return UserError(f"{target}: cannot be written ({reason})")


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
        why = "no plain file: a pipe, a device" if found.exists() else "no such file"
        raise UserError(f"{found}: {why} ({what})")
    return found
