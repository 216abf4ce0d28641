"""Work that is done in a thread while this one does something else: what comes next, and in order.

Reading files and decoding pictures release Python's lock, and so does a forward pass: they overlap.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Iterates over `items` in their order; a thread makes the next ones meanwhile.

    At most `most` of them wait, and none is begun while those that wait have `most_bytes` or more
    by `size_of`: one may lie above it. What making an item raises is raised in its turn. Use it as
    a context: at its end the thread has ended, whatever is left.
    """

    def __init__(
        self,
        items: Iterable[T],
        most: int,
        most_bytes: int = 1 << 62,
        size_of: Callable[[T], int] = lambda _: 0,
    ) -> None:
        self._items = items
        self._most, self._most_bytes, self._size_of = most, most_bytes, size_of
        self._waiting: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._error: BaseException | None = None
        self._ended = self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Iterator[T]:
        self._thread.start()
        return self._results()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    def _results(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    break
                item, size = self._waiting.popleft()
                self._bytes -= size
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        iterator = iter(self._items)
        try:
            while self._wait_for_room():
                self._put(next(iterator))
        except StopIteration:
            pass
        except BaseException as error:  # it is the other thread's to handle
            self._error = error
        finally:
            if isinstance(iterator, Generator):
                iterator.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        """Wait until the next one may be made; False when nobody wants any more."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._stopped
                    or (len(self._waiting) < self._most and self._bytes < self._most_bytes)
                )
            )
            return not self._stopped

    def _put(self, item: T) -> None:
        size = self._size_of(item)
        with self._changed:
            self._waiting.append((item, size))
            self._bytes += size
            self._changed.notify_all()
