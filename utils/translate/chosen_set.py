"""Of a model of this program with two sets of heads: which of them are written."""

from __future__ import annotations

from ..cfg import Cfg
from ..command.errors import UserError
from ..network.layers import Dfl, build_layers
from ..network.two_sets import one_set
from .blocks.writer import Answer


def chosen_set(cfg: Cfg, answer: Answer) -> tuple[Cfg, dict[int, int]]:
    """The cfg with the heads asked for; and old index -> new index of its layers.

    "own": without those that only train. Raises UserError for heads that it does not have.
    """
    heads = [layer for layer in build_layers(cfg) if isinstance(layer, Dfl)]
    one2one = {head.answers: head.one2one for head in heads}
    if answer == "own":
        return one_set(cfg)
    if answer == "both":
        if len(one2one) < 2:
            raise UserError(f"--head both: {cfg.source} has one set of heads")
        return cfg, {index: index for index in range(len(cfg.layers))}
    answering = [key for key, value in one2one.items() if value is (answer == "one2one")]
    if not answering:
        raise UserError(f"--head {answer}: {cfg.source} has no such heads")
    return one_set(cfg, answering[0])
