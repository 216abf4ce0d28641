"""Scores and a rule become a plan: which channels stay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cfg import Section
from ..command.errors import UserError
from ..network.graph import ChannelGraph, Mask
from ..network.layers import Layer
from ..network.layers.ties import Ids
from .blocks import ResidualBlock, activation_alone
from .candidates import Candidates, find_candidates
from .importance.scores import Scores
from .merge import Merge, find_merges
from .strategy import ChannelRule

Values = NDArray[np.float64]


@dataclass(frozen=True)
class PrunePlan:
    """What stays: `keep[c]` per class of the graph; and what the choice was based on.

    `cost_of_form`: a sentence on what was given back for the modules that it must fit.
    """

    graph: ChannelGraph
    keep: Mask
    threshold: float
    candidates: Candidates
    dropped: tuple[ResidualBlock, ...] = ()
    cost_of_form: str = ""

    @cached_property
    def stand_in(self) -> Mapping[int, int]:
        """For every layer that goes, the layer whose value takes its place."""
        return {index: block.source for block in self.dropped for index in block.layers}

    @cached_property
    def silent(self) -> frozenset[int]:
        """Layers inside dropped blocks: none of their channels has a say any more."""
        return frozenset(index for block in self.dropped for index in block.inside)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The full-size layers, with what is left of removed blocks in their shortcuts' places."""
        layers = list(self.graph.layers)
        for block in self.dropped:
            if block.shortcut not in self.stand_in:
                layers[block.shortcut] = activation_alone(layers[block.shortcut], block)
        return tuple(layers)

    @cached_property
    def merges(self) -> Mapping[int, Merge]:
        """Routes (by index) that would name one tensor twice."""
        return find_merges(self.graph, self.stand_in)

    def kept(self, index: int) -> Tensor:
        """Mask over the output channels of a layer (C,); not to be written to."""
        if index not in self._kept:
            self._kept[index] = self._mask(index)
        return self._kept[index]

    @cached_property
    def _kept(self) -> dict[int, Tensor]:
        return {}

    def _mask(self, index: int) -> Tensor:
        classes = self.graph.outputs[index]
        if index in self.silent:
            return torch.zeros(len(classes), dtype=torch.bool)
        keep = self.keep[classes]
        return torch.from_numpy(keep & self.merges[index].stays if index in self.merges else keep)

    def kept_count(self, index: int) -> int:
        """How many channels a layer with channels of its own keeps."""
        if index in self.stand_in:
            return 0
        return int(self.keep[self.graph.issued[index]].sum())

    @property
    def channels(self) -> int:
        """Channels that stay, over all layers with channels of their own."""
        return sum(self.kept_count(index) for index in self.graph.issued)

    def kept_inputs(self, index: int) -> list[Tensor]:
        """Masks over the channels of each source of a layer (of `layers`)."""
        if self.layers[index] is not self.graph.layers[index]:
            return [self.kept(index)]
        masks = [self.keep[ids] for ids in self.graph.inputs[index]]
        for k, source in enumerate(self.graph.layers[index].sources):
            if source in self.merges:
                masks[k] = masks[k] & self.merges[source].stays
        return [torch.from_numpy(mask) for mask in masks]

    def section(self, index: int) -> Section:
        """A layer's section for what stays, with the references of the full cfg."""
        layer = self.layers[index]
        section = layer.rewrite(self.kept_inputs(index), self.kept(index))
        if index not in self.merges:
            return section
        return layer.naming(section, self.merges[index].sources)


@dataclass(frozen=True)
class Limits:
    """What a user wants beside the strategy's own rule.

    excluded: convolutions to leave alone, with the reason. max_ratio: share of its channels that a
    convolution loses at most, whoever decides about them. round_to: counts are raised to multiples
    of it where channels are left to give back. floors: sets of classes, with how many of each set
    stay at least.
    """

    excluded: Mapping[int, str] = field(default_factory=dict)
    max_ratio: float = 1.0
    round_to: int = 1
    floors: tuple[tuple[Ids, int], ...] = ()

    def least(self, channels: int) -> int:
        """How many of its channels a layer keeps at least; never none."""
        # Rounded first: 10 * (1 - 0.9) is a little more than 1.
        return max(1, math.ceil(round(channels * (1 - self.max_ratio), 9)))


def make_plan(
    graph: ChannelGraph,
    scores: Scores,
    rule: ChannelRule,
    ratio: float,
    layer_keep: float = 0.0,
    limits: Limits | None = None,
) -> PrunePlan:
    """Remove the lowest `ratio` of the candidates, as far as ties and floors allow.

    `layer_keep` is the share of its channels that each convolution keeps at least.
    Raises UserError when nothing may be removed or a score is not a number.
    """
    limits = limits or Limits()
    candidates = find_candidates(graph, rule, limits.excluded, scores)
    threshold = _threshold(pooled(scores, candidates), ratio)
    floors = least_counts(graph, rule, layer_keep, limits)
    wanted: dict[int, Mask] = {}  # convolution -> channels it wants to keep
    for index, free in candidates.prunable.items():
        score = scores[index]
        above = score >= threshold if rule.keep_threshold else score > threshold
        keep = above | ~free
        wanted[index] = _at_least(keep, score, floors[index])
    keep = _decide(graph, candidates, wanted, rule)
    return PrunePlan(graph, repaired(graph, keep, scores, limits), threshold, candidates)


def least_counts(
    graph: ChannelGraph, rule: ChannelRule, layer_keep: float, limits: Limits
) -> dict[int, int]:
    """How many channels each layer that issues some keeps at least."""
    share = layer_keep if rule.floor == "ratio" else 0.0
    return {
        index: max(int(len(classes) * share), limits.least(len(classes)))
        for index, classes in graph.issued.items()
    }


def drop_blocks(
    plan: PrunePlan,
    scores: Scores,
    count: int,
    blocks: Sequence[ResidualBlock],
    reasons: Mapping[int, str],
) -> PrunePlan:
    """The plan with the `count` of `blocks` of lowest mean score gone, too.

    A block's score is the mean over the channels that its last convolution keeps. `reasons` says
    why other shortcuts cannot go. Raises UserError when there are fewer blocks than that.
    """
    if count > len(blocks):
        others = "".join(f"; shortcut {i}: {why}" for i, why in list(reasons.items())[:3])
        raise UserError(
            f"{count} shortcuts cannot go: the network has {len(blocks)} residual blocks that can"
            f"{others}"
        )
    ranked = sorted(blocks, key=lambda block: (block_score(plan, scores, block), block.shortcut))
    return replace(plan, dropped=tuple(sorted(ranked[:count], key=lambda b: b.shortcut)))


def block_score(plan: PrunePlan, scores: Scores, block: ResidualBlock) -> float:
    """Mean score of the kept channels of the block's last convolution."""
    kept = plan.keep[plan.graph.outputs[block.judge]]
    return float(scores[block.judge][kept].mean())


def keep_everything(graph: ChannelGraph) -> PrunePlan:
    """The plan that removes nothing."""
    return PrunePlan(graph, np.ones(graph.count, bool), 0.0, Candidates({}, {}))


def removable(graph: ChannelGraph, candidates: Candidates, rule: ChannelRule) -> Mask:
    """Which classes (count,) would go if every layer gave up all that it may."""
    least = {index: ~free for index, free in candidates.prunable.items()}
    return ~_decide(graph, candidates, least, rule)


def highest_safe_ratio(scores: Scores, candidates: Candidates) -> float:
    """The largest ratio at which no convolution loses all its candidates."""
    pool = pooled(scores, candidates)
    best = [scores[index][free].max() for index, free in candidates.prunable.items() if free.all()]
    if not best:
        return 1.0
    return float(np.searchsorted(np.sort(pool), min(best))) / len(pool)


def pooled(scores: Scores, candidates: Candidates) -> Values:
    """All scores that decide. Raises UserError when there is none, or one is not a number."""
    parts = [scores[index][free] for index, free in candidates.prunable.items()]
    pool = np.concatenate([np.empty(0), *parts])
    if not len(pool):
        raise UserError("no channel may be removed: every one is tied or read by a head")
    if not np.isfinite(pool).all():
        raise UserError("the weights hold scores that are not numbers (NaN); were they trained?")
    return pool


def _threshold(pool: Values, ratio: float) -> float:
    """The score at position floor(ratio * N) of the sorted pool."""
    position = math.floor(ratio * len(pool))
    return float(np.sort(pool)[position]) if position < len(pool) else math.inf


def _at_least(keep: Mask, score: Values, floor: int) -> Mask:
    if keep.sum() >= floor:
        return keep
    best = np.argsort(-score, kind="stable")[:floor]
    return keep | np.isin(np.arange(len(score)), best)


def _decide(
    graph: ChannelGraph, candidates: Candidates, wanted: Mapping[int, Mask], rule: ChannelRule
) -> Mask:
    """A class stays when it is no candidate, or when a convolution that decides wants it."""
    keep = np.ones(graph.count, bool)
    for index, free in candidates.prunable.items():
        keep[graph.issued[index][free]] = False
    for index, mask in wanted.items():
        free = candidates.prunable[index]
        deciding = mask & free if rule.tied == "first" else mask
        keep[graph.issued[index][deciding]] = True
    keep[list(graph.pinned)] = True
    return keep


def repaired(graph: ChannelGraph, keep: Mask, scores: Scores, limits: Limits) -> Mask:
    """Give channels back, the best first, until every count is as it must be.

    All parts of a split keep equal counts; layers keep multiples of `round_to`, or all, and no
    fewer than `max_ratio` leaves them, followers included; sets keep as many as their floors say.
    """
    value = np.zeros(graph.count)
    for index, score in scores.items():
        np.maximum.at(value, graph.issued[index], score)
    before = -1
    while before != keep.sum():
        before = int(keep.sum())
        for parts in graph.equal_parts:
            most = int(keep[parts].sum(1).max())
            for part in parts:
                keep = _raised(part, most, keep, value)
        for classes in graph.issued.values():
            # At least one: a convolution that follows others may have lost them all.
            count = max(limits.least(len(classes)), int(keep[classes].sum()))
            multiple = -(-count // limits.round_to) * limits.round_to
            keep = _raised(classes, min(len(classes), multiple), keep, value)
        for classes, least in limits.floors:
            keep = _raised(classes, least, keep, value)
    return keep


def _raised(classes: Ids, count: int, keep: Mask, value: Values) -> Mask:
    """`keep` with the best of the removed `classes` back, until `count` of them are kept."""
    raised: Mask = keep.copy()
    while raised[classes].sum() < count:
        raised[_best_removed(classes, raised, value)] = True
    return raised


def _best_removed(part: Ids, keep: Mask, value: Values) -> int:
    removed = part[~keep[part]]
    return int(removed[np.argmax(value[removed])])
