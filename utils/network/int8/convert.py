"""A network put on grids, its ranges measured, taken out and put back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...command.errors import UserError
from ..layers import Layer
from ..layers.modules import ConvolutionModule
from .grids import Grid, KernelGrid
from .points import points_of, sum_name, value_name
from .saved import Ranges


def put_on_grids(network: Any, ranges: Mapping[str, tuple[float, float]] | None = None) -> None:
    """Make a `Network` compute with rounded values and kernels, in place.

    ranges: of its values; None leaves them to `measure_ranges`. Raises UserError for those of
    another network.
    """
    points = points_of(network.rules)
    own = {value_name(index): Grid() for index in points.own}
    sums = {index: Grid() for index in points.sums}
    rules: dict[int, Layer] = {rule.index: rule for rule in network.rules}
    for index, module in enumerate(network.layers):
        if isinstance(module, ConvolutionModule) and rules[index].owner == index:
            module.int8 = KernelGrid(sums.get(index))
    network.grids = nn.ModuleDict(own)
    network.grids.update({sum_name(index): grid for index, grid in sums.items()})
    network.grids.to(next(network.parameters()).device)
    network.grids.train(network.training)
    if ranges is not None:
        set_ranges(network, ranges)


def take_off_grids(network: Any) -> None:
    """The network in float again, in place."""
    network.grids = nn.ModuleDict()
    for module in network.layers:
        if isinstance(module, ConvolutionModule):
            module.int8 = None


def ranges_of(network: Any) -> Ranges:
    """What its grids cover, by name; {} for a network in float."""
    return {name: (float(grid.low), float(grid.high)) for name, grid in network.grids.items()}


def set_ranges(network: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Let its grids cover these. Raises UserError where they are not those of this network."""
    if set(ranges) != set(network.grids.keys()):
        apart = sorted(set(ranges) ^ set(network.grids.keys()))
        raise UserError(
            f"{network.cfg.source}: int8 ranges of another network: {len(ranges)} for "
            f"{len(network.grids)} values (the first that differs: {apart[0][:40]})"
        )
    for name, (low, high) in ranges.items():
        network.grids[name].low.fill_(low)
        network.grids[name].high.fill_(high)


@torch.no_grad()
def measure_ranges(network: Any, batches: Iterable[Tensor]) -> None:
    """Let its grids cover what passes through rounded kernels: the average of batches' extremes.

    batches: images (B, C, H, W) in 0..1. Raises UserError where there are none.
    """
    was_training = network.training
    grids: list[Grid] = list(network.grids.values())
    ends: dict[Grid, list[tuple[float, float]]] = {grid: [] for grid in grids}
    network.eval()
    for grid in grids:
        grid.measures_only = True
    try:
        for images in batches:
            for grid in grids:
                grid.low.fill_(float("inf"))
                grid.high.fill_(float("-inf"))
            network(images)
            for grid in grids:
                ends[grid].append((float(grid.low), float(grid.high)))
    finally:
        for grid in grids:
            grid.measures_only = False
        network.train(was_training)
    for grid, pairs in ends.items():
        if not pairs:
            raise UserError("int8: there is no image to measure ranges on")
        grid.low.fill_(sum(low for low, _ in pairs) / len(pairs))
        grid.high.fill_(sum(high for _, high in pairs) / len(pairs))
