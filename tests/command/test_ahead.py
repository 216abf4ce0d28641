"""Work done ahead in a thread: in order, within its bounds, and ended with its context."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from utils.command.machine.ahead import Ahead


def eventually(condition: object) -> bool:
    assert callable(condition)
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_all_items_come_in_their_order() -> None:
    with Ahead(range(100), 3) as items:
        assert list(items) == list(range(100))
    with Ahead([], 3) as items:
        assert list(items) == []


@pytest.mark.parametrize(("most", "most_bytes", "made"), [(4, 1 << 30, 4), (100, 25, 3), (9, 5, 1)])
def test_no_more_is_made_than_may_wait(most: int, most_bytes: int, made: int) -> None:
    begun: list[int] = []

    def making() -> Iterator[int]:
        for number in range(50):
            begun.append(number)
            yield number

    with Ahead(making(), most, most_bytes, lambda _: 10) as items:
        assert eventually(lambda: len(begun) >= made)
        time.sleep(0.05)
        assert len(begun) == made
        assert next(items) == 0
        assert eventually(lambda: len(begun) >= made + 1)
        time.sleep(0.05)
        assert len(begun) == made + 1
        assert [0, *items] == list(range(50))


def test_an_error_comes_in_its_turn() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    found = []
    with pytest.raises(ValueError, match="no more"), Ahead(failing(), 5) as items:
        found += [next(items)]
        next(items)
    assert found == [1]


def test_the_thread_ends_with_the_context_and_closes_what_it_read() -> None:
    closed: list[bool] = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.current_thread() is not threading.main_thread())

    before = threading.active_count()
    with Ahead(endless(), 2) as items:
        assert next(items) == 0
    assert threading.active_count() == before
    assert closed == [True]
