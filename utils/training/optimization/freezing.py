"""Layers that do not learn: `--freeze N`, and the cfg's own `stopbackward`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from ...network.batch_norm.statistics import BatchNorm
from ...network.layers import Layer


@dataclass
class Freezing:
    """The first layers of a network, held as they are: weights and BN statistics.

    layers: how many, for the whole training. statistics: the BN statistics of all layers are held,
    and used in training as they are in use. until: (layers, step) pairs of `stopbackward` keys
    above 1, which hold the layers before that many optimizer steps are done. held: how many at the
    moment.
    """

    layers: int = 0
    statistics: bool = False
    until: tuple[tuple[int, int], ...] = ()
    held: int = field(default=0, init=False)

    @staticmethod
    def of(
        rules: Sequence[Layer], freeze: int, temporary: bool, statistics: bool = False
    ) -> Freezing:
        """`freeze` layers, or more where a section says `stopbackward=1`.

        A higher number, which Darknet takes as a count of steps, holds if `temporary`.
        """
        marks = [(rule.index + 1, rule.section.integer("stopbackward", 0)) for rule in rules]
        always = max((layers for layers, steps in marks if steps == 1), default=0)
        until = tuple((layers, steps) for layers, steps in marks if steps > 1)
        return Freezing(max(freeze, always), statistics, until if temporary else ())

    def count(self, step: int) -> int:
        """How many layers are held in optimizer step `step`."""
        return max([self.layers, *(layers for layers, end in self.until if step < end)])

    def apply(self, layers: nn.ModuleList, step: int, anew: bool = False) -> None:
        """Hold and let go as step `step` wants; `anew` after a change of the network's mode."""
        count = self.count(step)
        if anew and self.statistics:
            for module in layers.modules():
                if isinstance(module, BatchNorm):
                    module.eval()
        if count == self.held and not anew:
            return
        for module in layers[: max(count, self.held)]:
            for parameter in module.parameters():
                parameter.requires_grad_(False)
            module.eval()
        for module in layers[count : self.held]:
            for parameter in module.parameters():
                parameter.requires_grad_(True)
            module.train(not self.statistics)
        self.held = count
