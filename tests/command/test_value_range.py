"""Flags that take one value or several."""

from __future__ import annotations

import argparse

import pytest

from utils.command.cli import above_zero, from_zero, positive_int, ratio, seed, workers
from utils.command.value_range import several


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0.8", 0.8),
        ("0.3:0.9:0.1", (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)),  # in floats .3 + 6 * .1 > .9
        ("0.1:0.35:0.1", (0.1, 0.2, 0.3)),
        ("0.5:0.5:0.1", (0.5,)),
        ("0.9, 0.5,0.7", (0.5, 0.7, 0.9)),
        ("0.7,0.5,0.70", (0.5, 0.7)),
        ("0.1,0.3:0.5:0.1", (0.1, 0.3, 0.4, 0.5)),
        ("0:1:0.5", (0.0, 0.5, 1.0)),
        ("1e-1:3e-1:1e-1", (0.1, 0.2, 0.3)),
    ],
)
def test_ratios(text: str, wanted: float | tuple[float, ...]) -> None:
    assert several(ratio)(text) == wanted


def test_counts_stay_whole_numbers() -> None:
    values = several(positive_int)("2:16:2")
    assert values == (2, 4, 6, 8, 10, 12, 14, 16)
    assert all(isinstance(value, int) for value in values)
    assert several(positive_int)("10:100:10") == tuple(range(10, 101, 10))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("0.3:0.9", "START:STOP:STEP"),
        ("0.3:0.9:0.1:2", "START:STOP:STEP"),
        ("0.3:x:0.1", "START:STOP:STEP"),
        ("0.9:0.3:0.1", "does not go up"),
        ("0.3:0.9:0", "does not go up"),
        ("0.3:0.9:-0.1", "does not go up"),
        ("0.3:nan:0.1", "does not go up"),
        ("0:inf:0.1", "does not go up"),
        ("0:1:0.00001", "more than"),
        ("0.5:1.5:0.5", "between 0 and 1"),
        ("0.5,1.2", "between 0 and 1"),
        ("0.5,", "not a value"),
        (":", "START:STOP:STEP"),
    ],
)
def test_refuses(text: str, part: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=part):
        several(ratio)(text)


def test_refuses_parts_of_a_shortcut() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="not a value"):
        several(positive_int)("2:4:0.5")
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
        several(positive_int)("0:4:2")


def test_numbers_that_weigh_or_divide() -> None:
    assert (from_zero("0"), from_zero("2.5"), above_zero("1e-3")) == (0.0, 2.5, 1e-3)
    for text in ("nan", "inf", "-inf", "-0.1", "1e400"):
        for kind in (from_zero, above_zero):
            with pytest.raises(argparse.ArgumentTypeError, match="a number from 0 on"):
                kind(text)
    with pytest.raises(argparse.ArgumentTypeError, match="must be above 0, got 0"):
        above_zero("0")


def test_seeds_and_workers() -> None:
    assert (seed("0"), seed(str(2**63 - 1)), workers("-1"), workers("256")) == (
        0,
        2**63 - 1,
        -1,
        256,
    )
    for kind, text in ((seed, "-1"), (seed, str(2**63)), (workers, "-2"), (workers, "257")):
        with pytest.raises(argparse.ArgumentTypeError):
            kind(text)
