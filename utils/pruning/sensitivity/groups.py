"""Groups of layers whose channels go together, and the plan that cuts one of them by a share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...network.graph import ChannelGraph, Mask
from ...network.layers.ties import Ids
from ..candidates import Candidates, find_candidates
from ..importance.scores import Scores, Values
from ..plan import Limits, PrunePlan, pooled, removable, repaired
from ..strategy import ChannelRule


@dataclass(frozen=True, eq=False)
class Group:
    """Layers that share channels (a dependency group), and all channels that they have.

    `classes` are those of the graph, each once: channels that go together count as one.
    """

    layers: tuple[int, ...]
    classes: Ids

    @property
    def name(self) -> str:
        """Its layers, as `4` or `4 7 10`."""
        return " ".join(map(str, self.layers))


def find_groups(graph: ChannelGraph) -> list[Group]:
    """All groups, by their first layer: layers with a channel in common, or bound to equal counts.

    Every layer with channels of its own is in one of them.
    """
    leader: dict[int, int] = {}  # class -> the first layer that has it
    above = {index: index for index in graph.issued}

    def top(index: int) -> int:
        while above[index] != index:
            index = above[index]
        return index

    for index, classes in sorted(graph.issued.items()):
        for c in np.unique(classes).tolist():
            above[top(index)] = top(leader.setdefault(c, index))
    for parts in graph.equal_parts:
        bound = [top(leader[c]) for c in np.unique(parts).tolist() if c in leader]
        for other in bound[1:]:
            above[top(other)] = top(bound[0])
    members: dict[int, list[int]] = {}
    for index in sorted(graph.issued):
        members.setdefault(top(index), []).append(index)
    return [
        Group(tuple(layers), np.unique(np.concatenate([graph.issued[i] for i in layers])))
        for layers in sorted(members.values())
    ]


@dataclass(frozen=True)
class Cutter:
    """Cuts single groups: the least important of a group's channels go, all else stays.

    value: importance of each class (count,), NaN where it must stay.
    """

    graph: ChannelGraph
    scores: Scores
    candidates: Candidates
    value: Values

    def groups(self) -> Iterator[Group]:
        """Those that can lose channels."""
        for group in find_groups(self.graph):
            if not np.isnan(self.value[group.classes]).all():
                yield group

    def least(self, group: Group, count: int) -> Ids:
        """The `count` least important of a group's channels that may go; of fewer, all."""
        may_go = group.classes[~np.isnan(self.value[group.classes])]
        found: Ids = may_go[np.argsort(self.value[may_go], kind="stable")][:count]
        return found

    def plan(self, group: Group, share: float) -> PrunePlan:
        """The plan that cuts one group by `share` of its channels, rounded down, or by less.

        Less where too few may go, where a layer would be left without any, or where parts of a
        layer must keep equal counts.
        """
        # Rounded first: 0.3 * 10 is a little less than 3.
        wanted = math.floor(round(share * len(group.classes), 9))
        keep: Mask = np.ones(self.graph.count, bool)
        keep[self.least(group, wanted)] = False
        keep = repaired(self.graph, keep, self.scores, Limits())
        return PrunePlan(self.graph, keep, math.nan, self.candidates)


def make_cutter(
    graph: ChannelGraph, scores: Scores, rule: ChannelRule, excluded: dict[int, str]
) -> Cutter:
    """What a rule lets go, by these scores. Raises UserError where that is nothing."""
    candidates = find_candidates(graph, rule, excluded, scores)
    pooled(scores, candidates)
    value = np.full(graph.count, np.nan)
    for index, free in candidates.prunable.items():
        np.fmax.at(value, graph.issued[index][free], scores[index][free])
    value[~removable(graph, candidates, rule)] = np.nan
    return Cutter(graph, scores, candidates, value)


def gone(plan: PrunePlan, group: Group) -> Ids:
    """The classes of a group that a plan removes."""
    removed: Ids = group.classes[~plan.keep[group.classes]]
    return removed
