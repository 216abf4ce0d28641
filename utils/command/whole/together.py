"""Files that belong together: all of them change, or none.

No file system renames two files at once. So what is to be renamed is written down first, beside
the first file; a command that finds such a note left by a killed one finishes its work, and whoever
reads one of the files meanwhile is told that they may not fit. An error takes all back.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .temporary import PREFIX, remove_if_left, sync, sync_folder, temporary_file

_MARK = "set-"
_NOTE_BYTES = 1 << 16

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Move:
    temporary: Path
    target: Path

    @property
    def before(self) -> Path:
        """Where the target's old content is kept until all is done."""
        return self.temporary.with_name(f"{self.temporary.name}.old")


@contextmanager
def together(*targets: str | Path) -> Iterator[tuple[Path, ...]]:
    """Yield a fresh path beside each target; all become the targets when the block succeeds.

    Raises OSError where something cannot be written; everything is then as it was.
    """
    paths = [Path(target) for target in targets]
    finish_interrupted(paths)
    with ExitStack() as stack:
        fresh = [stack.enter_context(temporary_file(path, _MARK)) for path in paths]
        yield tuple(fresh)
        for path in fresh:
            sync(path)
        _move([_Move(*pair) for pair in zip(fresh, paths, strict=True)])


def note_path(first: Path) -> Path:
    """The note of a set under way, beside the first of its files."""
    return first.with_name(f"{PREFIX}set.{first.name}")


def finish_interrupted(targets: Sequence[Path]) -> None:
    """Finish what a killed command began to put in place, and remove what else it left.

    Raises OSError, also for a note that is not one of these targets'.
    """
    note = note_path(targets[0])
    if note.is_file():
        for move in _read(note, targets):
            if move.temporary.exists():
                move.temporary.replace(move.target)
            move.before.unlink(missing_ok=True)
        _sync_folders(targets)
        note.unlink()
        logger.warning(
            "%s: an earlier command was stopped while it put %s in place: done now",
            targets[0].parent,
            ", ".join(path.name for path in targets),
        )
    for target in targets:
        for left in _left_of(target):
            remove_if_left(left)


def _move(moves: Sequence[_Move]) -> None:
    """Rename all, or none where one fails. Raises OSError."""
    note = note_path(moves[0].target)
    begun: list[_Move] = []
    try:
        for move in moves:
            if move.target.exists():
                _keep(move.target, move.before)
        _write_note(note, moves)
        for move in moves:
            begun.append(move)
            move.temporary.replace(move.target)
        _sync_folders([move.target for move in moves])
        note.unlink()
    except BaseException:
        for move in begun:
            _take_back(move)
        with suppress(OSError):
            note.unlink(missing_ok=True)
        raise
    finally:
        for move in moves:
            with suppress(OSError):
                move.before.unlink(missing_ok=True)


def _take_back(move: _Move) -> None:
    with suppress(OSError):
        if move.before.exists():
            move.before.replace(move.target)
        elif not move.temporary.exists():
            move.target.unlink(missing_ok=True)


def _keep(target: Path, before: Path) -> None:
    """The content under a second name, which costs nothing where the file system has links."""
    try:
        before.hardlink_to(target)
    except OSError:
        shutil.copy2(target, before)


def _write_note(note: Path, moves: Sequence[_Move]) -> None:
    rows = [[_from(note, move.temporary), _from(note, move.target)] for move in moves]
    with temporary_file(note) as temporary:
        temporary.write_text(json.dumps({"moves": rows}) + "\n", encoding="utf-8")
        sync(temporary)
        temporary.replace(note)
    sync_folder(note.parent)


def _from(note: Path, path: Path) -> str:
    """As seen from the note, so that a folder that was moved in between still fits."""
    return os.path.relpath(path, note.parent)


def _read(note: Path, targets: Sequence[Path]) -> list[_Move]:
    """What a note says, which is trusted with these targets and our own temporaries only."""
    try:
        if note.stat().st_size > _NOTE_BYTES:
            raise ValueError
        rows = json.loads(note.read_text(encoding="utf-8"))["moves"]
        named = [str(target) for _, target in rows]
        fits = named == [_from(note, target) for target in targets]
        moves = [
            _Move(target.with_name(Path(row[0]).name), target)
            for row, target in zip(rows, targets, strict=True)
        ]
    except (ValueError, LookupError, TypeError, RecursionError):
        fits, moves = False, []
    if not fits or not all(_is_ours(move.temporary, move.target) for move in moves):
        raise OSError(
            errno.EBUSY,
            "an earlier command with other outputs than this one's was stopped in it; run that "
            "again, or remove this file",
            str(note),
        )
    return moves


def _is_ours(path: Path, target: Path) -> bool:
    start, name = re.escape(f"{PREFIX}{_MARK}"), re.escape(target.name)
    return bool(re.fullmatch(rf"{start}[0-9a-f]{{8}}\.{name}(\.old)?", path.name))


def _left_of(target: Path) -> list[Path]:
    try:
        with os.scandir(target.parent) as entries:
            found = [Path(e.path) for e in entries if e.name.startswith(f"{PREFIX}{_MARK}")]
    except OSError:
        return []
    return [path for path in found if _is_ours(path, target)]


def _sync_folders(targets: Sequence[Path]) -> None:
    for folder in dict.fromkeys(path.parent for path in targets):
        sync_folder(folder)
