"""Channels that cost the most for the least importance go first, until a goal is met."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...command.errors import UserError
from ...network.graph import ChannelGraph, Mask
from ...network.layers.ties import Ids
from ..candidates import Candidates, find_candidates
from ..importance.scores import Scores, Values
from ..plan import Limits, PrunePlan, least_counts, pooled, repaired
from ..strategy import ChannelRule
from .latency import LatencyTable
from .layer_costs import LayerCosts

_STEPS = 16  # a group's channels go in so many steps
_ACCURACY = 0.01
_TRIALS = 300  # channels that are tried one by one to come close


@dataclass(frozen=True)
class RemovalOrder:
    """In which order channels go, from a start in which blocks may be gone already.

    sequence: classes of the graph, the first to go first. unit: of what a channel's importance was
    divided by.
    """

    start: PrunePlan
    candidates: Candidates
    scores: Scores
    limits: Limits
    sequence: Ids
    unit: str

    def kept(self, removed: Ids) -> Mask:
        """What stays when some classes go, with what limits and ties make of it."""
        keep: Mask = np.ones(self.start.graph.count, bool)
        keep[removed] = False
        return repaired(self.start.graph, keep, self.scores, self.limits)

    def plan(self, removed: Ids) -> PrunePlan:
        """The plan that removes these classes."""
        start = self.start
        return PrunePlan(start.graph, self.kept(removed), math.nan, self.candidates, start.dropped)

    def first(self, share: float) -> PrunePlan:
        """The plan that removes the first of the sequence, by its share."""
        return self.plan(self.sequence[: round(share * len(self.sequence))])


def removal_order(
    start: PrunePlan,
    scores: Scores,
    rule: ChannelRule,
    costs: LayerCosts,
    layer_keep: float = 0.0,
    limits: Limits | None = None,
) -> RemovalOrder:
    """Step by step from the group that loses the least importance for each unit of cost saved."""
    limits = limits or Limits()
    graph = start.graph
    candidates = find_candidates(graph, rule, limits.excluded, scores)
    pooled(scores, candidates)
    floors = least_counts(graph, rule, layer_keep, limits)
    removal = _Removal(graph, candidates, scores, costs, start.stand_in, floors)
    sequence = np.array([c for block in removal.blocks() for c in block], dtype=np.int64)
    return RemovalOrder(start, candidates, scores, limits, sequence, costs.unit)


def meet_latency(
    order: RemovalOrder,
    table: LatencyTable,
    goal_ms: float,
    holds: Callable[[PrunePlan], bool] = lambda plan: True,
    at_most: bool = False,
) -> PrunePlan:
    """The plan whose sum in the table comes within 1% of `goal_ms`; `start`'s blocks are gone.

    Where that plan does not hold in other ways, the first of the order that does both. With
    `at_most` it may take less than that, where channels go in large groups. Raises UserError when
    it cannot be met.
    """
    gone = order.start.stand_in

    def sum_ms(removed: Ids) -> float:
        return table.sum_ms(order.kept(removed), gone)

    found = order.plan(_enough(order.sequence, goal_ms, sum_ms, at_most))
    if holds(found):
        return found
    low, high = 0, len(order.sequence)
    if not holds(order.plan(order.sequence)):
        raise UserError(
            "--target: the shares asked for beside the latency cannot be reached with these floors"
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(order.plan(order.sequence[:middle])) else (middle, high)
    return order.plan(order.sequence[:high])


def _enough(sequence: Ids, goal_ms: float, sum_ms: Callable[[Ids], float], at_most: bool) -> Ids:
    """What of the sequence has to go to come within 1% of the goal. Raises UserError."""
    flag = f"--target-latency-ms {goal_ms:g}"
    if sum_ms(sequence[:0]) <= goal_ms:
        raise UserError(f"{flag}: the network takes {sum_ms(sequence[:0]):.3f} ms as it is")
    if sum_ms(sequence) > goal_ms:
        raise UserError(
            f"{flag}: cannot be reached; with these floors and ties it takes at least "
            f"{sum_ms(sequence):.3f} ms"
        )
    low, high = 0, len(sequence)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sum_ms(sequence[:middle]) > goal_ms else (low, middle)
    if at_most or sum_ms(sequence[:high]) >= goal_ms * (1 - _ACCURACY):
        return sequence[:high]
    # The channel that crosses the goal overshoots: those after it may save less.
    found = sequence[:low]
    for channel in sequence[high : high + _TRIALS]:
        if sum_ms(found) <= goal_ms * (1 + _ACCURACY):
            return found
        further = np.append(found, channel)
        found = further if sum_ms(further) >= goal_ms * (1 - _ACCURACY) else found
    if sum_ms(found) <= goal_ms * (1 + _ACCURACY):
        return found
    raise UserError(
        f"{flag}: the channels go in groups too large to come within {_ACCURACY:.0%}; near it are "
        f"{sum_ms(found):.3f} and {sum_ms(sequence[:high]):.3f} ms"
    )


class _Removal:
    """The order in which channels go."""

    def __init__(
        self,
        graph: ChannelGraph,
        candidates: Candidates,
        scores: Scores,
        costs: LayerCosts,
        gone: Mapping[int, int],
        floors: dict[int, int],
    ) -> None:
        self._cost_of = costs.of
        self._keep: Mask = np.ones(graph.count, bool)
        self._value = _values(graph, candidates, scores)
        self._issuers = {i: ids for i, ids in graph.issued.items() if i not in gone}
        self._spare = {i: len(ids) - floors[i] for i, ids in self._issuers.items()}
        self._groups = _groups(graph, self._value, [i for i in costs.layers if i not in gone])
        self._issued_by = _issued_by(graph.count, self._issuers)
        self._step = [max(1, math.ceil(len(left) / _STEPS)) for left, _ in self._groups]

    def blocks(self) -> Iterator[list[int]]:
        """Blocks of channel classes, the ones to go first first, until nothing more can go."""
        prices = {g: self._price(g) for g in range(len(self._groups))}
        while prices:
            cheapest = min(prices, key=lambda g: prices[g][0])
            block = prices[cheapest][1]
            if not block:
                del prices[cheapest]
                continue
            self._remove(block)
            yield block
            touched = set(self._groups[cheapest][1])
            issuers = {i for c in block for i in self._issued_by[c]}
            for g in prices:
                if touched & set(self._groups[g][1]) or issuers & set(self._groups[g][1]):
                    prices[g] = self._price(g)

    def _price(self, group: int) -> tuple[float, list[int]]:
        """Importance lost for what is saved by the group's next block, and the block."""
        left, layers = self._groups[group]
        block = self._removable([c for c in left.tolist() if self._keep[c]], self._step[group])
        if not block:
            return -math.inf, []
        before = sum(self._cost_of(i, self._keep) for i in layers)
        self._keep[block] = False
        saved = before - sum(self._cost_of(i, self._keep) for i in layers)
        self._keep[block] = True
        lost = float(self._value[block].sum())
        return (lost / saved if saved > 0 else math.inf), block

    def _removable(self, left: list[int], most: int) -> list[int]:
        """The first of `left` that no layer needs for its floor, up to `most`."""
        spare = dict(self._spare)
        block: list[int] = []
        for channel in left:
            issuers = self._issued_by[channel]
            if all(spare[i] > 0 for i in issuers):
                block.append(channel)
                for i in issuers:
                    spare[i] -= 1
            if len(block) == most:
                break
        return block

    def _remove(self, block: list[int]) -> None:
        self._keep[block] = False
        for channel in block:
            for i in self._issued_by[channel]:
                self._spare[i] -= 1


def _values(graph: ChannelGraph, candidates: Candidates, scores: Scores) -> Values:
    """Importance of each class (count,): the largest of those that decide; NaN: it stays."""
    value = np.full(graph.count, np.nan)
    for index, free in candidates.prunable.items():
        ids = graph.issued[index][free]
        np.fmax.at(value, ids, scores[index][free])
    return value


def _groups(graph: ChannelGraph, value: Values, timed: list[int]) -> list[tuple[Ids, list[int]]]:
    """Removable classes that the same timed layers put out or read, least first; these layers."""
    touches = np.zeros((graph.count, len(timed)), bool)
    for column, index in enumerate(timed):
        touches[graph.outputs[index], column] = True
        touches[graph.inputs[index][0], column] = True
    may_go = np.flatnonzero(~np.isnan(value) & touches.any(1))
    found = []
    rows, number = np.unique(touches[may_go], axis=0, return_inverse=True)
    for k, row in enumerate(rows):
        classes = may_go[number.reshape(-1) == k]
        order = np.argsort(value[classes], kind="stable")
        found.append((classes[order], [timed[c] for c in np.flatnonzero(row)]))
    return found


def _issued_by(count: int, issuers: dict[int, Ids]) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(count)]
    for index, classes in issuers.items():
        for channel in classes.tolist():
            found[channel].append(index)
    return found
