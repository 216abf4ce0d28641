"""Types of the pruning scripts' flags: from a word of a command line to a value."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import cast, get_args

from ...command.cli import positive_int, ratio
from ..importance.options import IMPORTANCES, Cost, Kind
from ..options import LEAST_IMAGES, Budget, LatencyBudget, Measure


def kind_and_cost(text: str) -> tuple[Kind, Cost | None]:
    """`taylor` and None, or, of `taylor:macs`, both; type of --importance."""
    kind, colon, cost = text.partition(":")
    if kind not in IMPORTANCES:
        raise argparse.ArgumentTypeError(
            f"invalid choice: {kind!r} (choose from {', '.join(IMPORTANCES)})"
        )
    if colon and cost not in get_args(Cost):
        raise argparse.ArgumentTypeError(
            f"invalid choice: {cost!r} (choose from {', '.join(get_args(Cost))})"
        )
    return kind, cast(Cost, cost) if colon else None


def image_count(text: str) -> int:
    """A number of images to measure something on."""
    count = positive_int(text)
    if count < LEAST_IMAGES:
        raise argparse.ArgumentTypeError(f"must be at least {LEAST_IMAGES}, got {text}")
    return count


def budget(measure: Measure) -> Callable[[str], Budget]:
    """The type of `--target-MEASURE`: a share."""

    def share(text: str) -> Budget:
        return Budget(measure, ratio(text))

    return share


def latency(text: str) -> LatencyBudget:
    """Milliseconds."""
    ms = float(text)
    if not 0 < ms < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number of milliseconds, got {text}")
    return LatencyBudget(ms)
