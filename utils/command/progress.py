"""How all commands show how far they are: a bar on a terminal, now and then a line in a log."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

SILENCE_S = 30.0  # the longest that a log says nothing

logger = logging.getLogger(__name__)


class Progress(Protocol[T_co]):
    """Iterates over the items and shows how many are done."""

    def __iter__(self) -> Iterator[T_co]: ...

    def set_postfix(self, ordered_dict: Mapping[str, object], refresh: bool) -> Any:
        """What to show beside the count from now on."""


@dataclass(frozen=True)
class Step:
    """How far a piece of work is that has no bar of its own.

    share: of the whole work that it is a part of, from 0 to 1; None where it does not say.
    """

    what: str
    share: float | None


Watch = Callable[[Step], None]
_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Within this, bars show nothing themselves: `watch` hears of each item that is done."""
    before = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(before)


def progress_bar(
    items: Iterable[T],
    what: str,
    unit: str = "it",
    total: int | None = None,
    show: bool = True,
    part: tuple[int, int] | None = None,
) -> Progress[T]:
    """A bar on stderr that goes away when done; where that is a file or a pipe, lines in a log.

    part: (k, n), where the items are the k-th, from 0, of n equal parts of a longer work.
    """
    watch = _watch.get()
    if watch is not None:
        return _Watched(items, what, total, part, watch)
    if show and sys.stderr is not None and sys.stderr.isatty():
        from tqdm import tqdm  # here, so that --help needs no package

        columns, rows = terminal_size()
        bar: Progress[T] = tqdm(
            items, what, total, leave=False, unit=unit, delay=1,
            ncols=columns, nrows=rows,
        )  # fmt: skip
        return bar
    return _Logged(items, what, unit, total, show)


def terminal_size() -> tuple[int, int]:
    """Columns and rows of stderr; some terminals say 0, where tqdm would show nothing."""
    try:
        columns, rows = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        columns = rows = 0
    return columns or 80, rows or 24


class _Logged(Progress[T]):
    """Lines that come before a silence has lasted SILENCE_S, as far as items take alike long."""

    def __init__(
        self, items: Iterable[T], what: str, unit: str, total: int | None, show: bool
    ) -> None:
        self._items = items
        self._what = what
        self._unit = unit
        self._total = _length(items, total)
        self._show = show
        self._beside: Mapping[str, object] = {}

    def __iter__(self) -> Iterator[T]:
        if not self._show:
            yield from self._items
            return
        started = said = before = time.monotonic()
        for number, item in enumerate(self._items, 1):
            yield item
            now = time.monotonic()
            if now - said + (now - before) >= SILENCE_S and number != self._total:
                logger.info("%s", self._line(number, now - started))
                said = now
            before = now

    def set_postfix(self, ordered_dict: Mapping[str, object], refresh: bool = False) -> None:
        self._beside = ordered_dict

    def _line(self, done: int, seconds: float) -> str:
        count = f"{self._unit} {done}"
        if self._total is not None:
            left = seconds / done * (self._total - done)
            count += f"/{self._total}, {duration(left)} left"
        beside = "".join(f", {name} {value}" for name, value in self._beside.items())
        return f"{self._what}: {count}{beside}"


class _Watched(Progress[T]):
    """Tells who watches, and shows nothing."""

    def __init__(
        self,
        items: Iterable[T],
        what: str,
        total: int | None,
        part: tuple[int, int] | None,
        watch: Watch,
    ) -> None:
        self._items = items
        self._what = what
        self._total = _length(items, total)
        self._part = part
        self._watch = watch

    def __iter__(self) -> Iterator[T]:
        for number, item in enumerate(self._items, 1):
            yield item
            share = None
            if self._part is not None and self._total:
                before, parts = self._part
                share = (before + number / self._total) / parts
            self._watch(Step(self._what, share))

    def set_postfix(self, ordered_dict: Mapping[str, object], refresh: bool = False) -> None:
        pass  # what stands beside a bar is of the inner work


def _length(items: Iterable[object], total: int | None) -> int | None:
    return len(items) if total is None and isinstance(items, Sized) else total


def duration(seconds: float) -> str:
    """How long something takes: `34 s`, `5 min`, `2 h 10 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
