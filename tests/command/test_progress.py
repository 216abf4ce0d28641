"""Bars where somebody looks, lines in a log where nobody does."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest

from utils.command import progress
from utils.command.progress import duration, progress_bar
from utils.network.cost import short_count


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that have passed, as the bars see them."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def taking(seconds: float, count: int, clock: list[float]) -> Iterator[int]:
    for number in range(count):
        yield number
        clock[0] += seconds


def test_a_log_is_never_silent_for_long(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bar = progress_bar(range(20), "epoch 1/3", "batch")
    said: list[float] = []
    for _ in bar:
        bar.set_postfix({"box": "0.5"}, False)
        clock[0] += 8.0
        if len(caplog.records) > len(said):
            said.append(clock[0])
    assert caplog.records[0].message == "epoch 1/3: batch 3/20, 2 min left, box 0.5"
    times = [8.0 * int(r.message.split("batch ")[1].split("/")[0]) for r in caplog.records]
    gaps = [b - a for a, b in zip([0.0, *times], [*times, 160.0], strict=True)]
    assert max(gaps) <= progress.SILENCE_S
    assert len(times) == 6


def test_a_short_work_and_a_hidden_one_say_nothing(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in progress_bar(range(5), "short"):
        clock[0] += 1.0
    for _ in progress_bar(range(50), "hidden", show=False):
        clock[0] += 100.0
    assert not caplog.records
    for _ in progress_bar(iter(range(3)), "of unknown length", "img"):
        clock[0] += 100.0
    assert caplog.records[0].message == "of unknown length: img 1"


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert type(progress_bar(range(3), "bar")).__name__ == "tqdm"
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    assert type(progress_bar(range(3), "bar")).__name__ != "tqdm"


def test_a_terminal_that_tells_no_size_has_a_bar_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("os.get_terminal_size", lambda *_: (0, 0))
    bar = progress_bar(range(3), "bar")
    assert (getattr(bar, "ncols", None), getattr(bar, "nrows", None)) == (80, 24)


def test_amounts_have_the_digits_that_one_reads() -> None:
    counts = [999, 1710, 1_710_000, 9_996_000, 70_490_000, 99_960_000, 5.45e9]
    assert [short_count(count) for count in counts] == [
        "999", "1.71 k", "1.71 M", "10.0 M", "70.5 M", "100 M", "5.45 G",
    ]  # fmt: skip
    assert [duration(s) for s in (0.4, 34.4, 99, 100, 3599, 7800)] == [
        "0 s", "34 s", "99 s", "2 min", "1 h 0 min", "2 h 10 min",
    ]  # fmt: skip
