"""The flags of a prune that keeps to a sensitivity."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from ...command.errors import UserError
from ..options import SensitivityLimit
from .file import read_sensitivity


def add_sensitivity(group: argparse._ActionsContainer) -> None:
    """`--sensitivity` and `--max-layer-drop`; read them back with `sensitivity_of`."""
    group.add_argument(
        "--sensitivity",
        metavar="FILE",
        help="a file of sensitivity.py for these weights; with --max-layer-drop",
    )
    group.add_argument(
        "--max-layer-drop",
        type=float,
        metavar="DROP",
        help="no group of tied layers loses more channels than cost DROP by --sensitivity's file, "
        "each for itself: mAP@.5, or a share of the loss; groups not in it stay. 0.005 is a start",
    )


def sensitivity_of(given: Mapping[str, Any]) -> SensitivityLimit | None:
    """What the two flags ask for, by name; a script without channels has none.

    Raises UserError for one without the other.
    """
    file, max_layer_drop = given.get("sensitivity"), given.get("max_layer_drop")
    if file is None and max_layer_drop is None:
        return None
    if file is None:
        raise UserError("--max-layer-drop: needs --sensitivity, the file that says what is lost")
    if max_layer_drop is None:
        raise UserError("--sensitivity: needs --max-layer-drop, say 0.005")
    return SensitivityLimit(file, max_layer_drop)


def require_sensitivity(limit: SensitivityLimit | None) -> None:
    """Raise UserError where its file is none of sensitivity.py; None asks for nothing."""
    if limit is not None:
        read_sensitivity(limit.file)
