"""What is chosen by trying: cuts that are scored on the development share, before any training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import mean

from ...detection.options import Inputs
from . import decisions
from .decisions import Order
from .job import Amount, Job, cut_words, goal_words, later, scored_cuts


def choose_order(job: Job) -> tuple[Amount, float]:
    """What ranks the channels best, by what a cut to the goal leaves; and that, as mAP@.5.

    Each cut is scored in every way of putting it right, and counts as their mean: a fit to few
    images mends what finetuning does not (docs/results.md).
    """
    orders = decisions.orders(job.options.goals)
    words = goal_words(job)
    for order in orders:
        job.bar.times.expect(_trial(order), trial_s(job))
    scores = []
    for order in orders:
        with job.bar.stage(_trial(order)):
            tried = partial(scored_at_once, job)
            scores.append(job.line.value(f"ranked by {order}", later(tried, Amount(order, words))))
    best = decisions.best_of([mean(each) for each in scores], job.shown)
    told = ", ".join(f"{order} {_shown(each)}" for order, each in zip(orders, scores, strict=True))
    why = "leads" if best else "none leads it clearly"
    job.bar.say(f"Ranking: {orders[best]} ({why}; mAP@.5 after the cut, {_ways_told()}: {told})")
    return Amount(orders[best], words), max(scores[best])


def scored_at_once(job: Job, amount: Amount) -> list[float]:
    """mAP@.5 that a cut of the network as it is leaves, put right in each way."""
    return scored_cuts(job, job.base, cut_words(job, amount), decisions.AFTER_THE_CUT)


def _trial(order: Order) -> str:
    return f"trial cut by {order}"


def trial_s(job: Job) -> float:
    """Seconds of a cut that is scored in each way, about: it reads some more images, too."""
    return 2 * len(decisions.AFTER_THE_CUT) * job.scored_s


def pull_pays(job: Job, left: float) -> bool:
    """Whether to pull before a cut that leaves mAP@.5 `left`: not where it is nearly free."""
    lost = job.worth - left
    free = lost <= decisions.FREE
    why = "next to nothing" if free else "so a pull comes first, where there are epochs for one"
    job.bar.say(f"A cut at once would cost {max(0.0, lost):.3f} mAP@.5 of {job.worth:.3f}: {why}")
    return not free


def choose_after_the_cut(
    job: Job, prefix: str, model: Inputs, words: list[str]
) -> tuple[tuple[str, ...], float]:
    """What puts the cut network right before it is trained, and what mAP@.5 that leaves.

    What the development share prefers.
    """
    ways = decisions.AFTER_THE_CUT
    with job.bar.stage(f"{prefix}trials after the cut"):
        tried = partial(scored_cuts, job, model, words)
        scores = job.line.value(f"{prefix}after the cut", later(tried, ways))
    best = decisions.best_of(scores, job.shown)
    job.bar.say(f"After the cut: {_way(ways[best])} (mAP@.5, {_ways_told()}: {_shown(scores)})")
    return ways[best], scores[best]


def _way(way: Sequence[str]) -> str:
    return " ".join(way) or "folding alone"


def _ways_told() -> str:
    return " / ".join(_way(way[:1]) for way in decisions.AFTER_THE_CUT)


def _shown(scores: Sequence[float]) -> str:
    return " / ".join(f"{score:.3f}" for score in scores)
