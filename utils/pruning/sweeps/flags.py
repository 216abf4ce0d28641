"""The flags of a sweep: several values where one stands otherwise, and how much mAP may go."""

from __future__ import annotations

from dataclasses import dataclass

from ...command.cli import Parser, ratio
from ...command.errors import UserError
from ..options import Budget, LatencyBudget, SweepWish, Unit
from ..strategy import Strategy

Range = tuple[float, ...]

_EXAMPLES: dict[Unit, str] = {"ratio": "0.3:0.9:0.1", "shortcuts": "2:16:2"}


@dataclass(frozen=True)
class Amounts:
    """How much is to go, as it was typed: one number or several; None: not given."""

    ratio: float | Range | None
    shortcuts: int | Range | None
    budget: Budget | LatencyBudget | None
    max_map_drop: float | None

    def one(self, unit: Unit) -> float | None:
        """The number of a unit, the largest of several; None: not given."""
        found = self.ratio if unit == "ratio" else self.shortcuts
        return max(found) if isinstance(found, tuple) else found


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


def sweep_wish(
    strategy: Strategy, amounts: Amounts, data: str, output: str | None, report: str | None
) -> SweepWish | None:
    """The sweep that the flags ask for, if they do.

    Raises UserError for flags that do not go together.
    """
    given: dict[Unit, float | Range | None] = {
        "ratio": amounts.ratio,
        "shortcuts": amounts.shortcuts,
    }
    ranges = {unit: found for unit, found in given.items() if isinstance(found, tuple)}
    if len(ranges) > 1:
        raise UserError(
            f"{strategy.ratio_flag} and --shortcuts hold several values; one of them may"
        )
    if amounts.budget is not None and amounts.ratio is not None:
        raise UserError(
            f"--target-{amounts.budget.measure}: takes the place of {strategy.ratio_flag}; give one"
        )
    if ranges or amounts.max_map_drop is not None:
        own: Unit = "ratio" if strategy.channels is not None else "shortcuts"
        unit = next(iter(ranges), own)
        _require_fitting(strategy, amounts, unit, bool(ranges), bool(data), bool(report))
        return SweepWish(unit, ranges.get(unit, ()), amounts.max_map_drop)
    if output:
        raise UserError(
            "--output: is the folder of a sweep, but there is one value only; what is pruned is "
            "written beside its cfg and weights"
        )
    return None


def _require_fitting(
    strategy: Strategy, amounts: Amounts, unit: Unit, several: bool, scored: bool, reported: bool
) -> None:
    """Raise UserError for what a sweep over `unit` cannot be combined with."""
    flag = strategy.ratio_flag if unit == "ratio" else "--shortcuts"
    why = f"{flag} holds several values" if several else "--max-map-drop searches the value itself"
    given = amounts.one(unit)
    if amounts.budget is not None:
        raise UserError(f"--target-{amounts.budget.measure}: finds one ratio, but {why}")
    if not several and given is not None:
        raise UserError(
            f"{flag} {given:g}: {why}; give a range, as {_EXAMPLES[unit]}, or leave it out"
        )
    if amounts.max_map_drop is not None and not scored:
        raise UserError("--max-map-drop: needs --data to score by")
    if reported and amounts.max_map_drop is None:
        raise UserError(f"--report: reports a prune, but {why}, so that nothing is pruned")
