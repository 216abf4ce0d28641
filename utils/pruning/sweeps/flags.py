"""The flags of a sweep: several values where one stands otherwise, and how much mAP may go."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from ...command.cli import ratio
from ...command.errors import UserError
from ..options import SweepWish, Unit
from ..strategy import Strategy

Range = tuple[float, ...]


@dataclass(frozen=True)
class Amounts:
    """How much is to go, as `--ratio` and `--shortcuts` have it: one number of each, or a sweep."""

    ratio: float | None
    shortcuts: int | None
    sweep: SweepWish | None


def add_max_map_drop(group: argparse._ActionsContainer) -> None:
    """`--max-map-drop`: the search for a value."""
    group.add_argument(
        "--max-map-drop",
        type=ratio,
        metavar="DROP",
        help="search the most that can go (in the range given, else in all) at the cost of DROP "
        "mAP@.5 on --data before finetuning, and prune by that",
    )


def add_sweep_output(group: argparse._ActionsContainer) -> None:
    """`--output`: where a sweep writes."""
    group.add_argument(
        "--output",
        metavar="FOLDER",
        help="where a sweep writes sweep.csv and sweep.png; left out, runs/sweep/NAME",
    )


def sorted_amounts(
    strategy: Strategy,
    ratios: float | Range | None,
    shortcuts: int | Range | None,
    max_map_drop: float | None,
) -> Amounts:
    """Single numbers apart from several, of which one flag may hold some.

    Raises UserError for two flags with several values.
    """
    given: dict[Unit, float | Range | None] = {"ratio": ratios, "shortcuts": shortcuts}
    ranges = {unit: found for unit, found in given.items() if isinstance(found, tuple)}
    if len(ranges) > 1:
        raise UserError(
            f"{strategy.ratio_flag} and --shortcuts hold several values; one of them may"
        )
    wish = None
    if ranges or max_map_drop is not None:
        own: Unit = "ratio" if strategy.channels is not None else "shortcuts"
        unit = next(iter(ranges), own)
        wish = SweepWish(unit, ranges.get(unit, ()), max_map_drop)
    return Amounts(
        None if isinstance(ratios, tuple) else ratios,
        None if isinstance(shortcuts, tuple) else shortcuts,
        wish,
    )
