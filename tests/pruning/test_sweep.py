"""Sweeps: knee, search, table and csv, on hand-made curves."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.command.errors import UserError
from utils.pruning.sweeps.curve import (
    Sweep,
    SweepPoint,
    find_knee,
    last_that,
    run_sweep,
    search,
    sweep_rows,
    sweep_table,
    write_csv,
)

TENTHS = [k / 10 for k in range(11)]


def point(value: float, map50: float | None = None) -> SweepPoint:
    left = round(1000 * (1 - value)) + 10
    timed = None if map50 is None else 2.5
    return SweepPoint(value, left, 20 * left, 4 * left, timed, map50, map50 and map50 / 2)


def scored(map50: Callable[[float], float]) -> Callable[[float], SweepPoint]:
    return lambda value: point(value, map50(value))


def cliff(at: float) -> Callable[[float], float]:
    """.8 up to `at`, then 0."""
    return lambda value: 0.8 if value <= at + 1e-9 else 0.0


# -- the knee --------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9])
def test_the_knee_of_a_cliff_is_its_edge(at: float) -> None:
    index = find_knee(TENTHS, [cliff(at)(value) for value in TENTHS])
    assert index is not None
    assert TENTHS[index] == at


def test_the_knee_of_a_curve_is_where_its_slope_is_the_chords() -> None:
    # 1 - x^4 falls with slope 4 x^3 = 1 at x = .63; the nearest tenth above the chord is .6.
    index = find_knee(TENTHS, [1 - value**4 for value in TENTHS])
    assert index == 6


@pytest.mark.parametrize(
    "scores",
    [
        [0.8 - 0.7 * value for value in TENTHS],  # straight
        [0.8 * (1 - value) ** 3 for value in TENTHS],  # falls at once
        [0.8 - 0.01 * (value > 0.5) for value in TENTHS],  # noise
        [0.5 + 0.1 * value for value in TENTHS],  # rises
        [float("nan")] * 11,
    ],
)
def test_curves_without_a_knee(scores: list[float]) -> None:
    assert find_knee(TENTHS, scores) is None


def test_two_points_have_no_knee() -> None:
    assert find_knee([0, 1], [0.8, 0]) is None
    assert find_knee([0, 0.5, 1], [0.8, 0.8, 0]) == 1


def test_uneven_steps_count_by_their_place() -> None:
    assert find_knee([0, 0.1, 0.2, 0.9, 0.95], [0.8, 0.8, 0.8, 0.79, 0.1]) == 3


# -- the search ------------------------------------------------------------------------------


@given(count=st.integers(0, 300), good=st.integers(0, 300))
def test_bisection_finds_the_last_that_passes(count: int, good: int) -> None:
    asked = []

    def passes(value: float) -> bool:
        asked.append(value)
        return value < good

    found = last_that(passes, range(count))
    assert found == (min(good, count) - 1 if min(good, count) else None)
    assert len(asked) <= count.bit_length()


def test_a_search_over_all_ratios() -> None:
    asked = []

    def measure(value: float) -> SweepPoint:
        asked.append(value)
        return point(value, cliff(0.6132)(value))

    sweep = search(run_sweep("ratio", (), measure), measure, 0.02, 1.0)
    assert sweep.chosen == 0.61  # in steps of .005
    assert len(asked) <= 9
    assert [p.value for p in sweep.points] == sorted(asked)
    assert "chosen" in sweep.note(sweep.points[asked_index(sweep, 0.61)])
    assert "steps of 0.005" in sweep.verdict()


def asked_index(sweep: Sweep, value: float) -> int:
    return [p.value for p in sweep.points].index(value)


def test_a_search_between_two_points_of_a_sweep() -> None:
    asked = []

    def measure(value: float) -> SweepPoint:
        asked.append(value)
        return point(value, cliff(0.6132)(value))

    start = run_sweep("ratio", (0.4, 0.5, 0.6, 0.7, 0.8), measure)
    asked.clear()
    sweep = search(start, measure, 0.02, 1.0)
    assert sweep.chosen == 0.61
    assert all(0.6 < value < 0.7 for value in asked)
    assert len(asked) <= 5


def test_a_search_stops_at_the_end_of_the_range() -> None:
    measure = scored(cliff(0.9))
    sweep = search(run_sweep("ratio", (0.3, 0.5), measure), measure, 0.02, 1.0)
    assert sweep.chosen == 0.5
    assert len(sweep.points) == 3


def test_a_search_goes_below_a_range_that_is_too_high() -> None:
    measure = scored(cliff(0.22))
    assert search(run_sweep("ratio", (0.5, 0.7), measure), measure, 0.02, 1.0).chosen == 0.22


def test_a_search_counts_shortcuts() -> None:
    measure = scored(lambda count: 0.8 - 0.01 * count)
    found = [
        search(run_sweep("shortcuts", values, measure), measure, 0.055, 23).chosen
        for values in ((), (2, 4, 6, 8), (7, 8))
    ]
    assert found == [5, 5, 5]
    measure = scored(lambda count: 0.8)
    assert search(run_sweep("shortcuts", (), measure), measure, 0.05, 23).chosen == 22


def test_the_drop_is_counted_from_the_model_as_it_is() -> None:
    measure = scored(lambda value: 0.8 - 0.1 * value)
    for drop, wanted in ((0.05, 0.5), (0.0499, 0.495), (0.09, 0.9)):
        found = search(run_sweep("ratio", (), measure), measure, drop, 1.0).chosen
        assert found == pytest.approx(wanted)


def test_a_search_that_finds_nothing() -> None:
    measure = scored(lambda value: 0.8 if value == 0 else 0.1)
    sweep = search(run_sweep("ratio", (0.5,), measure), measure, 0.02, 1.0)
    assert sweep.chosen is None
    assert "Chosen" not in sweep.verdict()
    with pytest.raises(UserError, match="needs a mAP"):
        search(run_sweep("ratio", (), point), point, 0.02, 1.0)
    poor = scored(lambda value: 0.02)
    with pytest.raises(UserError, match="any ratio would do"):
        search(run_sweep("ratio", (), poor), poor, 0.02, 1.0)
    nothing = scored(lambda value: float("nan"))
    with pytest.raises(UserError, match="holds objects"):
        search(run_sweep("ratio", (), nothing), nothing, 0.02, 1.0)


# -- table and csv ---------------------------------------------------------------------------


def test_a_sweep_starts_with_the_model_as_it_is() -> None:
    assert [p.value for p in run_sweep("ratio", (0.5, 0.3), point).points] == [0, 0.3, 0.5]
    assert [p.value for p in run_sweep("ratio", (0.0, 0.3), point).points] == [0, 0.3]


def test_table_of_the_structure_alone() -> None:
    sweep = run_sweep("ratio", (0.3, 0.5), point)
    rows = sweep_rows(sweep)
    assert "mAP@.5" not in rows[0]
    assert rows[1][-1] == "as it is"
    assert rows[3][:3] == ["0.5", "510", "50.5%"]
    assert all(len(row) == len(rows[0]) for row in rows)
    assert "mAP" not in sweep.verdict()
    assert "| 0.5" in sweep_table(sweep) or "0.5 |" in sweep_table(sweep)


def test_table_with_the_knee() -> None:
    sweep = run_sweep("ratio", TENTHS, scored(cliff(0.7)))
    rows = sweep_rows(sweep)
    assert [row[0] for row in rows if "knee" in row[-1]] == ["0.7"]
    assert "ratio 0.7" in sweep.verdict()
    straight = run_sweep("ratio", TENTHS, scored(lambda value: 0.8 - 0.7 * value))
    assert "none in this range" in straight.verdict()


def test_csv(tmp_path: Path) -> None:
    measure = scored(cliff(0.7))
    write_csv(search(run_sweep("ratio", TENTHS, measure), measure, 0.02, 1.0), tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "ratio",
        "parameters",
        "macs",
        "file_bytes",
        "latency_ms",
        "map50",
        "map",
        "note",
    ]
    assert [float(row["ratio"]) for row in rows] == sorted(float(row["ratio"]) for row in rows)
    found = next(row for row in rows if row["ratio"] == "0.7")
    assert found["note"] == "knee, chosen"
    assert (found["parameters"], found["macs"]) == ("310", "6200")
    assert (float(found["map50"]), float(found["map"])) == (0.8, 0.4)


def test_csv_of_the_structure_alone(tmp_path: Path) -> None:
    write_csv(run_sweep("shortcuts", (2, 4), point), tmp_path / "s.csv")
    lines = (tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("shortcuts,parameters")
    assert lines[1].endswith(",,,,as it is")
    assert lines[2].startswith("2,")
