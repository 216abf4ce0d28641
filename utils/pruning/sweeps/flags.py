"""The flags of a sweep: several values where one stands otherwise, and how much mAP may go."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Literal

from ...command.cli import Parser, ratio
from ...command.errors import UserError
from ..strategy import Strategy

Unit = Literal["ratio", "shortcuts"]
Range = tuple[float, ...]

DEFAULT_SHORTCUTS = 8
_EXAMPLES: dict[Unit, str] = {"ratio": "0.3:0.9:0.1", "shortcuts": "2:16:2"}


@dataclass(frozen=True)
class SweepWish:
    """Which values of what to try; without `max_map_drop` nothing is pruned after it.

    No values: search the whole range for `max_map_drop`.
    """

    unit: Unit
    values: Range
    max_map_drop: float | None


def add_sweep_flags(parser: Parser) -> None:
    """`--max-map-drop` and `--output`; the values stand in the flags of ratio and shortcuts."""
    add = parser.add_argument
    add(
        "--max-map-drop",
        type=ratio,
        metavar="DROP",
        help="search the most that can go (in the range given, else in all) at the cost of DROP "
        "mAP@.5 on --data before finetuning, and prune by that",
    )
    add(
        "--output",
        metavar="FOLDER",
        help="where a sweep writes sweep.csv and sweep.png; left out, runs/sweep/NAME of the cfg",
    )


def settled(strategy: Strategy, args: argparse.Namespace) -> argparse.Namespace:
    """The flags with one number in `ratio` and in `shortcuts`, and the wish in `sweep` (or None).

    Raises UserError for flags that do not go together.
    """
    given: dict[Unit, float | Range | None] = {"ratio": args.ratio, "shortcuts": args.shortcuts}
    ranges = {unit: found for unit, found in given.items() if isinstance(found, tuple)}
    drop = args.max_map_drop
    if len(ranges) > 1:
        raise UserError(
            f"{strategy.ratio_flag} and --shortcuts hold several values; one of them may"
        )
    if args.budget is not None and args.ratio is not None:
        raise UserError(
            f"--target-{args.budget.measure}: takes the place of {strategy.ratio_flag}; give one"
        )
    wish = None
    if ranges or drop is not None:
        own: Unit = "ratio" if strategy.channels is not None else "shortcuts"
        unit = next(iter(ranges), own)
        _require_fitting(strategy, args, unit, bool(ranges))
        wish = SweepWish(unit, ranges.get(unit, ()), drop)
    elif args.output:
        raise UserError(
            "--output: is the folder of a sweep, but there is one value only; what is pruned is "
            "written beside its cfg and weights"
        )
    numbers: dict[str, float] = {
        "ratio": strategy.ratio if strategy.channels is not None else 0.0,
        "shortcuts": DEFAULT_SHORTCUTS if strategy.blocks else 0,
    }
    for unit, found in given.items():
        if found is not None:
            numbers[unit] = max(found) if isinstance(found, tuple) else found
    return argparse.Namespace(**{**vars(args), **numbers, "sweep": wish})


def _require_fitting(
    strategy: Strategy, args: argparse.Namespace, unit: Unit, several: bool
) -> None:
    """Raise UserError for what a sweep over `unit` cannot be combined with."""
    flag = strategy.ratio_flag if unit == "ratio" else "--shortcuts"
    why = f"{flag} holds several values" if several else "--max-map-drop searches the value itself"
    given = args.ratio if unit == "ratio" else args.shortcuts
    if args.budget is not None:
        raise UserError(f"--target-{args.budget.measure}: finds one ratio, but {why}")
    if not several and given is not None:
        raise UserError(
            f"{flag} {given:g}: {why}; give a range, as {_EXAMPLES[unit]}, or leave it out"
        )
    if args.max_map_drop is not None and not args.data:
        raise UserError("--max-map-drop: needs --data to score by")
    if args.report and args.max_map_drop is None:
        raise UserError(f"--report: reports a prune, but {why}, so that nothing is pruned")
