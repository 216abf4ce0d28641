"""Which residual blocks can go: those whose constant finds its way into what follows.

With these weights, that is; `structure.py` answers for any weights, from the cfg alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from ..network.graph import ChannelGraph
from ..network.layers import UnfoldableError
from .blocks import ResidualBlock, find_blocks
from .plan import keep_everything
from .surgery import walk_constants


def removable_blocks(
    graph: ChannelGraph, state: Mapping[str, Tensor]
) -> tuple[tuple[ResidualBlock, ...], Mapping[int, str]]:
    """The blocks that can go, and why every other shortcut (by index) cannot.

    Constants add up, so blocks that can go one by one can go together.
    """
    blocks, reasons = find_blocks(graph)
    whole = keep_everything(graph)
    found: list[ResidualBlock] = []
    others = dict(reasons)
    for block in blocks:
        try:
            walk_constants(state, replace(whole, dropped=(block,)))
        except UnfoldableError as error:
            others[block.shortcut] = str(error)
        else:
            found.append(block)
    return tuple(found), others
