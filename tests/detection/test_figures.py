"""The table of before and after that every prune prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from utils.command.machine.timing import Latency, time_alternately_ms
from utils.detection.figures import ModelFigures, comparison_rows

BEFORE = ModelFigures(
    parameters=4000,
    macs=2_000_000_000,
    file_bytes=16_000,
    latency=Latency(8.0, 7.0, 9.0),
    map50=0.5,
    map=0.25,
)


def changes(before: ModelFigures, after: ModelFigures) -> dict[str, str]:
    """The table's last column by its first."""
    heads, *rows = comparison_rows(before, after)
    assert heads == ["Metric", "Before", "After", "Change"]
    return {row[0]: row[3] for row in rows}


def test_a_change_is_a_share_of_the_old_value() -> None:
    """A network of a quarter of the size is 75% smaller, not 300%; mAP changes in points."""
    after = replace(
        BEFORE,
        parameters=1000,
        macs=500_000_000,
        file_bytes=20_000,
        latency=Latency(10.0, 9.5, 11.0),
        map50=0.25,
    )
    assert changes(BEFORE, after) == {
        "mAP@.5": "-0.250",
        "mAP@.5:.95": "+0.000",
        "Parameters": "-75.0%",
        "MACs": "-75.0%",
        "File (bytes)": "+25.0%",
        "Forward (ms)": "+25.0%",
    }


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (Latency(6.0, 5.5, 6.5), "-25.0%"),
        (Latency(10.0, 9.0, 11.0), "+25.0%"),
        (Latency(6.0, 5.5, 8.5), "not told apart"),
        (Latency(30.0, 7.5, 60.0), "not told apart"),
    ],
)
def test_a_ratio_of_times_needs_spreads_that_do_not_meet(after: Latency, said: str) -> None:
    before = replace(BEFORE, latency=Latency(8.0, 7.0, 8.9))
    assert changes(before, replace(BEFORE, latency=after))["Forward (ms)"] == said


def test_calls_are_timed_in_turns() -> None:
    """A, B, A, B: each as often as the other, those that warm up included."""
    called: list[str] = []
    calls: list[Callable[[], object]] = [lambda: called.append("a"), lambda: called.append("b")]
    assert len(time_alternately_ms(calls, runs=3, warmup=2, most_s=60)) == 2
    assert called == ["a", "b"] * 5
    called.clear()
    assert len(time_alternately_ms(calls, runs=3, warmup=2, most_s=0)) == 2
    assert called == ["a", "b"] * 2  # one to warm up, one that counts


def test_of_nothing_there_is_no_share() -> None:
    """Rows without a figure are left out, and a change from 0 is no number."""
    plain = ModelFigures(parameters=0, macs=0, file_bytes=0)
    grown = ModelFigures(parameters=7, macs=0, file_bytes=0, map50=0.5)
    assert changes(plain, grown) == dict.fromkeys(("Parameters", "MACs", "File (bytes)"), "-")
