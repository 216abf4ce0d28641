"""Where a study lies: a file in the run's folder, or any storage of Optuna."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...command.errors import UserError
from ...command.optional import load
from .shared import GRACE_S

FILE_NAME, OWN_NAME = "study.db", "widths"  # of a study that lies in its run's folder
_JOURNAL = "journal:"
_POLL_S = 0.2
_ATTEMPTS = 10  # at making tables: another process may be making them
_LOCKED_S = 60  # that SQLite waits for another process


def open_study(url: str, name: str, folder: Path, about: Mapping[str, object]) -> Any:
    """The study called `name` at `url`, made if it is not there; "" both: the folder's own.

    `about` is what must be the same for all that work on it. Raises UserError where it is not, and
    where the storage cannot be used.
    """
    optuna = load("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    flag = f"--study {name}" if name else f"--resume {folder}"
    own = f"sqlite:///{(folder / FILE_NAME).absolute()}"
    with _opening(url):
        storage = _storage(url or own)
        named = {"study_name": name or OWN_NAME, "storage": storage}
        try:
            study = optuna.create_study(**named, direction="maximize")
            begun_here = True
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.load_study(**named)
            begun_here = False
        _require_about(study, about, begun_here, flag)
    return study


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Raise UserError, in one line, where a storage fails that could be used before."""
    alchemy, optuna = load("sqlalchemy").exc, load("optuna").exceptions
    try:
        yield
    except (alchemy.SQLAlchemyError, optuna.StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, optuna.StorageInternalError) else error
        raise _unusable(url, cause or error) from None


@contextmanager
def _opening(url: str) -> Iterator[None]:
    """As `storage_errors`, of a storage that may be none at all: no driver, no place for a file."""
    try:
        with storage_errors(url):
            yield
    except (ImportError, OSError) as error:
        raise _unusable(url, error) from None


def _unusable(url: str, error: BaseException) -> UserError:
    said = str(error).strip().splitlines() or [type(error).__name__]
    return UserError(f"--storage {_shown(url) or FILE_NAME}: cannot be used ({said[0]})")


def _shown(url: str) -> str:
    """The URL without its password, as far as it is one."""
    alchemy = load("sqlalchemy")
    try:
        return str(alchemy.make_url(url).render_as_string(hide_password=True))
    except alchemy.exc.ArgumentError:
        return url


def _storage(url: str) -> Any:
    storages = load("optuna").storages
    if url.startswith(_JOURNAL):
        backend = storages.journal.JournalFileBackend(url[len(_JOURNAL) :])
        return storages.JournalStorage(backend)
    kwargs = {"connect_args": {"timeout": _LOCKED_S}} if url.startswith("sqlite:") else {}
    alchemy = load("sqlalchemy").exc
    for attempt in range(_ATTEMPTS):
        try:
            return storages.RDBStorage(url, kwargs)
        except (alchemy.OperationalError, alchemy.ProgrammingError, alchemy.IntegrityError) as e:
            # A table that exists already, or its first row that does.
            theirs = isinstance(e, alchemy.IntegrityError) or "exist" in str(e)
            if not theirs or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_POLL_S)
    raise AssertionError


def _require_about(study: Any, about: Mapping[str, object], begun_here: bool, flag: str) -> None:
    """Note what a study is about; raise UserError where that is something else.

    `begun_here`: whether this process made the study. Another's maker notes it at once, or has been
    killed before it could.
    """
    until = time.monotonic() + GRACE_S
    while not begun_here and "about" not in study.user_attrs and time.monotonic() < until:
        time.sleep(_POLL_S)
    if "about" not in study.user_attrs:
        study.set_user_attr("about", dict(about))
    known = study.user_attrs["about"]
    for key, value in about.items():
        if known.get(key) != value:
            raise UserError(
                f"{flag}: the study was begun with other {key} than now; start a new one"
            )
