"""What written weights are for, as plain values."""

from __future__ import annotations

import argparse
from typing import Literal, get_args

BnEpsilon = Literal["darknet", "opencv", "any"]


def add_bn_epsilon(parser: argparse._ActionsContainer) -> None:
    """Add `--bn-epsilon` to a command that writes weights."""
    parser.add_argument(
        "--bn-epsilon",
        choices=get_args(BnEpsilon),
        default="darknet",
        help="what the written weights are for: darknet (and further training), opencv, whose "
        "batch normalisation adds another epsilon, or any runtime",
    )
