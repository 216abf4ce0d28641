"""Darknet's small text files: `.data`, `.names` and image lists.

Paths in them resolve against the working directory first (as Darknet does), then against the folder
of the file that holds them, so that a data set can be moved as a whole.
"""

from __future__ import annotations

import codecs
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..command.errors import UserError
from ..command.outside.regular import is_special
from ..command.progress import progress_bar

logger = logging.getLogger(__name__)

# A list of ten million paths stays below this; a video or a weights file named by mistake does not.
MAX_TEXT_BYTES = 1 << 30
MAX_SMALL_TEXT_BYTES = 16 << 20
_HEAD_BYTES = 4096
MAX_PATH_CHARACTERS = 4096
MAX_CLASSES = 1_000_000


@dataclass(frozen=True)
class DataSpec:
    """What a `.data` file says; `train` and `valid` are None where the file does not name them.

    A list that does not exist yet is still named here (beside the `.data` file): a command that
    only evaluates must not fail over a missing training list.
    """

    source: Path
    nc: int
    train: Path | None
    valid: Path | None
    names: tuple[str, ...]

    def require(self, which: str) -> Path:
        """The path of the `train` or `valid` list; UserError when the `.data` file names none."""
        path: Path | None = {"train": self.train, "valid": self.valid}[which]
        if path is None:
            raise UserError(f"{self.source}: has no '{which}=' line, which this command needs")
        return path


def load_data_file(path: str | Path) -> DataSpec:
    """Read a `.data` file: `key=value` lines; `classes`, `train`, `valid` and `names` are used.

    The first of two equal keys wins, as in Darknet, with a warning; `val` stands for `valid` in
    what datumaro (and with it CVAT) writes. Raises UserError with file:line.
    """
    source = Path(path)
    values = _read_options(source)
    stated = _stated_classes(source, values)
    names_path = _named_path(source, values, "names")
    names = None if names_path is None else load_names(names_path, stated)
    nc = stated or len(names or ())
    if not nc:
        raise UserError(f"{source}: needs a 'classes=' line (the number of classes)")
    return DataSpec(
        source=source,
        nc=nc,
        train=_named_path(source, values, "train"),
        valid=_named_path(source, values, "valid") or _named_path(source, values, "val"),
        names=_fit_names(names, nc, names_path),
    )


def read_data_text(source: Path) -> str:
    """The text of a `.data` file. Raises UserError when it is missing or no text."""
    return read_text(source, "a .data file", MAX_SMALL_TEXT_BYTES)


def load_names(path: str | Path, nc: int | None = None) -> tuple[str, ...]:
    """Class names, one a line; blank lines at the end are no names.

    A blank line before that is the place of a class without a name, which is called by its number:
    left out, it would give all later classes the name of the one before. Where the other lines are
    as many as the classes (`nc`), it is spacing.
    """
    text = read_text(path, "a file of class names", MAX_SMALL_TEXT_BYTES)
    lines = [line.strip() for line in text.rstrip().splitlines()]
    named = tuple(filter(None, lines))
    if len(named) in (nc, len(lines)):
        return named
    first = lines.index("")
    logger.warning(
        "%s:%d: no name for class %d, which is called by its number", path, first + 1, first
    )
    return tuple(line or str(number) for number, line in enumerate(lines))


def names_text(names: Iterable[object]) -> str:
    """A file of class names: one line each and none empty, so that every name keeps its place."""
    plain = (printable(str(name), " ").split() for name in names)
    return "".join(f"{' '.join(words) or number}\n" for number, words in enumerate(plain))


def printable(text: str, instead: str = "_") -> str:
    """Text that a line of a file can hold: no line breaks, no bytes that were no text."""
    return "".join(c if c.isprintable() else instead for c in text)


def load_list(path: str | Path) -> list[tuple[int, Path]]:
    """(line number from 1, image path) for each line of an image list; blank lines are dropped.

    Paths are resolved but need not exist. Raises UserError for a list that is empty or not text.
    """
    source = Path(path)
    text = read_text(source, "a list of images", MAX_TEXT_BYTES)
    # On a network's disk a look at each image takes time: a bar says how far it is.
    lines = progress_bar(text.splitlines(), f"looking for the images of {source}", "line")
    stripped = ((number, line.strip()) for number, line in enumerate(lines, 1))
    entries = [(number, _resolve_entry(line, source.parent)) for number, line in stripped if line]
    if not entries:
        raise UserError(f"{source}: the list names no image")
    return entries


def resolve(text: str, folder: Path) -> Path:
    """`text` as a path: in the working directory when it exists there, else under `folder`.

    Backslashes of a list written on Windows are tried as slashes. datumaro (and with it CVAT)
    writes `data/` before all paths of a set and makes no such folder: they are meant without it.
    """
    spellings = [text, text.replace("\\", "/")] if "\\" in text else [text]
    for spelling in spellings:
        below = os.path.join(folder, spelling)  # noqa: PTH118 - of a million lines, in time
        inner = spelling.removeprefix("data/")
        further = () if inner == spelling else (os.path.join(folder, inner),)  # noqa: PTH118
        for candidate in (spelling, below, *further):
            if exists(candidate):
                return Path(candidate)
    return folder / spellings[-1]


def exists(path: str | Path) -> bool:
    """As `Path.exists`, but a name that the file system cannot hold simply does not exist."""
    try:
        return os.path.exists(path)  # noqa: PTH110 - takes text as it is, for long lists
    except (OSError, ValueError):
        return False


def read_text(path: str | Path, what: str, max_bytes: int) -> str:
    """Text of a file; a byte-order mark is dropped, UTF-16 (PowerShell's default) is accepted.

    Raises UserError when the file is missing, larger than `max_bytes`, or not text.
    """
    try:
        if is_special(path):
            raise UserError(f"{path}: a pipe or a device, not a file ({what} expected)")
        with Path(path).open("rb") as file:
            raw = file.read(_HEAD_BYTES)
            utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            if utf16 or b"\0" not in raw:  # else a binary file, of whatever size: read no further
                raw += file.read(max_bytes + 1 - len(raw))
    except OSError as error:
        raise UserError(f"{path}: cannot be read as {what} ({error.strerror})") from None
    except ValueError:
        raise UserError(f"{str(path)!r}: not a path ({what} expected)") from None
    if len(raw) > max_bytes:
        raise UserError(f"{path}: larger than {max_bytes >> 20} MiB, so it is not {what}")
    try:
        text = raw.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not {what} (the bytes are not UTF-8 text)") from None
    if "\0" in text:
        raise UserError(f"{path}: not {what} (a binary file)")
    return text


def _resolve_entry(line: str, folder: Path) -> Path:
    if len(line) > MAX_PATH_CHARACTERS:
        return Path(line[:MAX_PATH_CHARACTERS])  # no such file: reported with its line later
    return resolve(line, folder)


def _read_options(source: Path) -> dict[str, tuple[int, str]]:
    """Option -> (line number, value)."""
    text = read_data_text(source)
    values: dict[str, tuple[int, str]] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = _without_comment(raw).strip()
        if not line:
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not key:
            raise UserError(f"{source}:{number}: expected key=value, found {line[:80]!r}")
        if key in values:
            logger.warning(
                "%s:%d: '%s' is given again; the first value counts", source, number, key
            )
        values.setdefault(key, (number, value))
    return values


def _without_comment(line: str) -> str:
    """`#` or `;` starts a comment at the start of a line or after a blank (a path may hold one)."""
    for position, character in enumerate(line):
        if character in "#;" and (position == 0 or line[position - 1].isspace()):
            return line[:position]
    return line


def _named_path(source: Path, values: dict[str, tuple[int, str]], key: str) -> Path | None:
    _, value = values.get(key, (0, ""))
    return resolve(value, source.parent) if value else None


def _stated_classes(source: Path, values: dict[str, tuple[int, str]]) -> int | None:
    """The number of `classes=`; None without that line. Raises UserError where it is none."""
    if "classes" not in values:
        return None
    number, text = values["classes"]
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 9):
        raise UserError(
            f"{source}:{number}: classes={text[:40]!r} is not a number of classes (1, 2, ...)"
        )
    nc = int(text)
    if not 1 <= nc <= MAX_CLASSES:
        raise UserError(f"{source}:{number}: classes={nc} is not between 1 and {MAX_CLASSES}")
    return nc


def _fit_names(names: tuple[str, ...] | None, nc: int, names_path: Path | None) -> tuple[str, ...]:
    """Exactly `nc` names: surplus ones are cut, missing ones become the class number."""
    known = names or ()
    if names is not None and len(names) != nc:
        logger.warning("%s: %d names for %d classes", names_path, len(names), nc)
    return known[:nc] + tuple(str(number) for number in range(len(known), nc))
