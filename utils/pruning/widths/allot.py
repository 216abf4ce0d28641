"""From wanted widths to plans: in each group the least important channels go."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...command.errors import UserError
from ...network.graph import Mask
from ..plan import Limits, PrunePlan, repaired
from ..sensitivity.groups import Cutter, Group

_STEPS = 20  # of the bisection: 2^-20 is less than one channel of any network


@dataclass(frozen=True)
class Allotter:
    """Plans by the number of channels that each group keeps.

    A group may come to keep more than is wanted: channels that must stay, parts that must be equal
    and `limits` have the last word. Groups do not touch each other: what one keeps is nothing to
    the others.
    """

    cutter: Cutter
    limits: Limits

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Those that can lose channels, by their first layer."""
        return tuple(self.cutter.groups())

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """How many channels each group has."""
        return tuple(len(group.classes) for group in self.groups)

    def plan(self, wanted: Sequence[int]) -> PrunePlan:
        """The plan in which every group keeps as many as wanted, or the next number that it can."""
        graph = self.cutter.graph
        keep: Mask = np.ones(graph.count, bool)
        for group, size, count in zip(self.groups, self.sizes, wanted, strict=True):
            keep[self.cutter.least(group, size - count)] = False
        keep = repaired(graph, keep, self.cutter.scores, self.limits)
        return PrunePlan(graph, keep, math.nan, self.cutter.candidates)

    def kept(self, plan: PrunePlan) -> tuple[int, ...]:
        """How many channels of each group a plan keeps."""
        return tuple(int(plan.keep[group.classes].sum()) for group in self.groups)

    def counts(self, shares: Sequence[float]) -> list[int]:
        """How many channels these shares are, none more than all."""
        return [min(size, round(size * s)) for size, s in zip(self.sizes, shares, strict=True)]

    def scaled(
        self, shares: Sequence[float], holds: Callable[[PrunePlan], bool]
    ) -> PrunePlan | None:
        """The widest plan that holds among those at these shares times one factor; None: none does.

        More channels must never hold where fewer do not.
        """
        low, high = 0.0, 1 / min(shares)  # with which all stay

        def at(factor: float) -> list[int]:
            return self.counts([factor * share for share in shares])

        found = self.plan(at(low))
        if not holds(found):
            return None
        known = {tuple(at(low)): True}
        for _ in range(_STEPS):
            middle = (low + high) / 2
            wanted = tuple(at(middle))
            if wanted not in known:
                plan = self.plan(wanted)
                known[wanted] = holds(plan)
                found = plan if known[wanted] else found
            low, high = (middle, high) if known[wanted] else (low, middle)
        return found

    def exactly(self, wanted: Mapping[Group, int]) -> PrunePlan:
        """The plan in which these groups keep just as many as wanted, and all others stay whole.

        Raises UserError for a number that a group cannot keep.
        """
        asked = [wanted.get(group, len(group.classes)) for group in self.groups]
        plan = self.plan(asked)
        if self.kept(plan) == tuple(asked):
            return plan
        return self.plan([self._fewest(number, count) for number, count in enumerate(asked)])

    def _fewest(self, number: int, count: int) -> int:
        """What one group is to be asked for, so that it keeps `count`. Raises UserError."""

        def kept(asked: int) -> int:
            others = [size if k != number else asked for k, size in enumerate(self.sizes)]
            return self.kept(self.plan(others))[number]

        low, high = 0, count  # with `high`, at least `count` stay
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if kept(middle) >= count else (middle + 1, high)
        found = kept(low)
        if found != count:
            raise UserError(
                f"--widths: layers {self.groups[number].name} cannot keep {count} channels: some "
                f"must stay, or parts be equal; {found} is the next number that goes"
            )
        return low
