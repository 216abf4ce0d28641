"""From options to the pull of a run."""

from __future__ import annotations

import logging

from ...command.errors import UserError
from ..optimization.options import Rates
from ..optimization.schedule import Schedule
from .coupled import Coupled, make_coupled
from .options import SparsityOptions
from .pull import Sparsity, Targets, auto_strength

logger = logging.getLogger(__name__)


def make_sparsity(
    targets: Targets | Coupled, options: SparsityOptions, rates: Rates, schedule: Schedule
) -> Sparsity:
    """The pull on `targets` that the options describe.

    Raises UserError for a strength "auto" where the optimizer rescales the pull.
    """
    sparsity = (
        make_coupled(targets, options)
        if isinstance(targets, Coupled)
        else Sparsity(targets, 0.0, options.decay, options.update)
    )
    if isinstance(options.strength, int | float):
        sparsity.s = options.strength
    elif options.on:
        if options.by_gradient and rates.kind != "sgd":
            raise UserError(
                "--s auto: AdamW rescales a subgradient, so no strength can be told beforehand; "
                "give --sparsity-update prox, or --optimizer sgd"
            )
        sparsity.s = auto_strength(sparsity, schedule, rates.lr0)
        unit = "added to the gradient" if options.by_gradient else "times the learning rate"
        logger.info(
            "--s auto: %.3g, %s in each of %d steps (--sparsity-update %s)",
            sparsity.s, unit, schedule.steps, options.update,
        )  # fmt: skip
    return sparsity
