"""What is chosen by trying: cuts that are scored on the development share, before any training."""

from __future__ import annotations

from ...detection.options import Inputs
from . import decisions
from .job import Amount, Job, cut_words, goal_words, later, scored_cut

_TRIED_AFTER = ("--repair", "64")  # what makes cuts comparable before they are trained


def choose_ranking(job: Job) -> tuple[Amount, float]:
    """What ranks the channels best, by what a cut to the goal leaves; and that, as mAP@.5."""
    names = decisions.rankings(job.options.goals)
    words = goal_words(job)

    def tried(name: str) -> float:
        return scored_at_once(job, Amount(name, words))

    scores = []
    for name in names:
        job.bar.times.expect(_trial(name), trial_s(job))
    for name in names:
        with job.bar.stage(_trial(name)):
            scores.append(job.line.value(f"ranked by {name}", later(tried, name)))
    best = decisions.best_of(scores)
    chosen = names[best]
    told = ", ".join(f"{name} {score:.3f}" for name, score in zip(names, scores, strict=True))
    why = "leads" if chosen != names[0] else "none leads it clearly"
    job.bar.say(f"Ranking: {chosen} ({why}; mAP@.5 after the cut, kernels fitted again: {told})")
    return Amount(chosen, words), scores[best]


def scored_at_once(job: Job, amount: Amount) -> float:
    """mAP@.5 that a cut of the network as it is leaves, its kernels fitted again."""
    return scored_cut(job, job.base, [*cut_words(job, amount), *_TRIED_AFTER])


def _trial(ranking: str) -> str:
    return f"trial cut by {ranking}"


def trial_s(job: Job) -> float:
    """Seconds of a cut that is scored, about: it reads some more images than it scores."""
    return 2 * job.scored_s


def pull_pays(job: Job, left: float) -> bool:
    """Whether to pull before a cut that leaves mAP@.5 `left`: not where it is nearly free."""
    lost = job.worth - left
    free = lost <= decisions.FREE
    why = "it costs next to nothing" if free else "so the channels are emptied by training first"
    job.bar.say(f"A cut at once would cost {max(0.0, lost):.3f} mAP@.5 of {job.worth:.3f}: {why}")
    return not free


def choose_after_the_cut(job: Job, prefix: str, model: Inputs, words: list[str]) -> tuple[str, str]:
    """BN statistics measured again, or kernels fitted again: what the development share prefers."""

    def tried(how: tuple[str, str]) -> float:
        return scored_cut(job, model, [*words, *how])

    ways = decisions.AFTER_THE_CUT
    scores = []
    for way in ways:
        with job.bar.stage(f"{prefix}trial of {way[0]}"):
            key = f"{prefix}after the cut {way[0]}"
            scores.append(job.line.value(key, later(tried, way)))
    chosen = ways[decisions.best_of(scores)]
    told = ", ".join(f"{way[0]} {score:.3f}" for way, score in zip(ways, scores, strict=True))
    job.bar.say(f"After the cut: {' '.join(chosen)} (mAP@.5: {told})")
    return chosen
