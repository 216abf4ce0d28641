"""Is a model sparse enough to be pruned? One score, the ratio that costs nothing, and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...network.batch_norm.gammas import gini
from ...network.graph import ChannelGraph, Mask
from .batch_norm import batch_norm_scale, expected_change
from .scores import Scores, Values

FREE_SHARE = 0.01  # of what the largest channel beside it hands on
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)

# Below this share of free channels a model counts as dense: any useful ratio then costs accuracy.
_DENSE_FREE = 0.05
# Gammas that the penalty shrinks without telling them apart: all small, and no more uneven than
# numbers spread evenly between 0 and the largest (1/3) or half of a normal curve (0.41).
_TOGETHER_MEDIAN, _TOGETHER_SCORE = 0.1, 0.45
_WEAK = 0.05  # gammas start at 1: channels in use that are below it have given in to the penalty
# Between two checkpoints: the mean falls to this share, but the spread grows by less than a quarter
# of the fall; a score that is high in spite of it shows gammas that have parted long ago.
_FELL, _GREW, _APART_SCORE = 0.8, 0.25, 0.6
_FLIPPED = 0.1  # share of gammas that change sign
_BEYOND_FREE = 0.1  # a ratio this far above the free share is worth a word


@dataclass(frozen=True)
class LayerGammas:
    """The candidates of one layer: how many, |gamma| at QUANTILES, share of free channels."""

    index: int
    channels: int
    quantiles: tuple[float, ...]
    free: float


@dataclass(frozen=True)
class Sparseness:
    """How sparse the |gamma| of the channels are that a strategy may remove.

    score: their Gini index: 0 when all are equal, p when a share p is 0 and the others are equal;
    it does not depend on their scale (Hurley and Rickard, "Comparing Measures of Sparsity", IEEE
    Trans. Information Theory 2009). free: share of the channels that cost next to nothing:
    E |activation(z) - activation(beta)|, what is lost when beta is folded on, is at most FREE_SHARE
    of the largest in their layer or in one that a shortcut adds to it. median, mean: of |gamma|;
    in_use: median |gamma| of the channels that are not free.
    """

    score: float
    free: float
    median: float
    mean: float
    in_use: float
    channels: int
    layers: tuple[LayerGammas, ...]
    gammas: Mapping[int, Values]  # layer -> |gamma| of its candidates

    @property
    def together(self) -> bool:
        """Whether the gammas have shrunk without parting into used and unused ones."""
        return self.median < _TOGETHER_MEDIAN and self.score < _TOGETHER_SCORE

    @property
    def weak(self) -> bool:
        """Whether even the channels in use have given in to the penalty."""
        return self.in_use < _WEAK

    @property
    def dense(self) -> bool:
        """Whether hardly a channel can go for nothing."""
        return self.free < _DENSE_FREE


def measure_sparseness(
    graph: ChannelGraph, state: Mapping[str, Tensor], prunable: Mapping[int, Mask]
) -> Sparseness:
    """Sparseness of the channels `prunable` (layer -> bool per channel), where they have a gamma.

    Without any, all figures are 0.
    """
    gammas = batch_norm_scale(graph, state)
    free = free_channels(graph, state)
    chosen = {i: mask for i, mask in sorted(prunable.items()) if i in gammas and mask.any()}
    candidates = {index: gammas[index][mask] for index, mask in chosen.items()}
    pool = np.concatenate([np.empty(0), *candidates.values()])
    spared = np.concatenate([np.empty(0, bool), *(free[i][mask] for i, mask in chosen.items())])
    layers = tuple(
        LayerGammas(
            index,
            int(mask.sum()),
            tuple(np.quantile(candidates[index], QUANTILES).tolist()),
            float(free[index][mask].mean()),
        )
        for index, mask in chosen.items()
    )
    any_left = len(pool) > 0
    return Sparseness(
        score=gini(pool),
        free=float(spared.mean()) if any_left else 0.0,
        median=float(np.median(pool)) if any_left else 0.0,
        mean=float(pool.mean()) if any_left else 0.0,
        in_use=float(np.median(pool[~spared])) if not spared.all() else 0.0,
        channels=len(pool),
        layers=layers,
        gammas=candidates,
    )


def free_channels(graph: ChannelGraph, state: Mapping[str, Tensor]) -> dict[int, Mask]:
    """Which channels cost next to nothing, for every layer with a gamma; see Sparseness."""
    change = expected_change(graph, state)
    largest = _largest_beside(graph, change)
    return {index: values <= FREE_SHARE * largest[index] for index, values in change.items()}


def _largest_beside(graph: ChannelGraph, change: Scores) -> dict[int, float]:
    """For every layer, the largest change in it and in those that shortcuts add to it.

    The normalisation behind a layer makes up for its scale, so a layer is measured by itself; but
    a weak branch stays weak beside the stronger ones of its sum.
    """
    largest = {index: float(values.max(initial=0)) for index, values in change.items()}
    added = np.zeros(graph.count, bool)
    added[graph.summed] = True
    while True:
        reach = np.zeros(graph.count)
        for index, value in largest.items():
            classes = graph.issued[index]
            np.maximum.at(reach, classes[added[classes]], value)
        wider = {
            index: max(value, float(reach[graph.issued[index]].max(initial=0)))
            for index, value in largest.items()
        }
        if wider == largest:
            return largest
        largest = wider


def summary(found: Sparseness) -> str:
    """One line."""
    return (
        f"Sparseness {found.score:.2f} (Gini index of |gamma|; 0: all equal): {found.free:.1%} of "
        f"{found.channels} channels cost next to nothing to remove (each hands on less than "
        f"{FREE_SHARE:.0%} of what its layer's largest does)"
    )


def concerns(found: Sparseness, ratio: float | None = None) -> list[str]:
    """What a user should know before pruning `ratio` of the channels: one line, or none."""
    if found.together:
        return [
            f"all gammas are small together (median {found.median:.4f}, score {found.score:.2f}): "
            "sparse training has shrunk them without telling the channels apart, so their order "
            "means little; train with a weaker --s"
        ]
    if found.weak:
        return [
            f"even the channels in use have small gammas (median {found.in_use:.4f}): the penalty "
            "has outweighed the loss and most likely cost accuracy; train with a weaker --s"
        ]
    if found.dense:
        return [
            f"the model is dense: {found.free:.1%} of the channels can go for nothing, any more "
            "costs accuracy that finetuning must win back; train sparsely first (train.py -sr)"
        ]
    if ratio is not None and ratio > found.free + _BEYOND_FREE:
        return [
            f"the ratio {ratio:g} takes more than the {found.free:.2f} that cost next to nothing: "
            "expect to finetune"
        ]
    return []


def drift(
    before: Sparseness, after: Sparseness, states: tuple[Mapping[str, Tensor], Mapping[str, Tensor]]
) -> Iterator[str]:
    """What is wrong with how the gammas moved from one checkpoint to a later one; mostly nothing.

    `states` are the two checkpoints'.
    """
    spreads = [np.concatenate(list(found.gammas.values())).std() for found in (before, after)]
    fall, growth = before.mean - after.mean, spreads[1] - spreads[0]
    fell = after.mean < _FELL * before.mean
    if fell and growth < _GREW * fall and after.score < _APART_SCORE:
        yield (
            f"the gammas move together: their mean fell from {before.mean:.3f} to {after.mean:.3f} "
            f"while their spread went from {spreads[0]:.3f} to {spreads[1]:.3f}; a weaker --s over "
            "more epochs tells the channels apart"
        )
    flipped = _flipped(before, *states)
    if flipped > _FLIPPED:
        yield f"{flipped:.0%} of the gammas changed sign: learning rate times --s overshoots 0"


def _flipped(found: Sparseness, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """Share of all gammas, in layers with candidates, whose sign differs."""
    keys = [f"layers.{index}.bn.weight" for index in found.gammas]
    signs = [(before[key] * after[key] < 0).double() for key in keys]
    return float(np.concatenate([sign.cpu().numpy() for sign in signs]).mean()) if signs else 0.0
