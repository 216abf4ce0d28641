"""As small as a drop of mAP allows: the size itself is searched."""

from __future__ import annotations

from functools import partial

from ...detection.options import Inputs
from . import decisions
from .chance import Drop, drop_between
from .choices import trial_s
from .decisions import Epochs, Order
from .job import Amount, Job, cut_words, later, scored, train_words
from .slim import expect_slim, slim


def as_small_as_holds(job: Job, plan: Epochs) -> tuple[Amount, dict[str, Inputs], Drop]:
    """How the smallest size that loses no more than --max-map-drop is said, its models, its loss.

    Sizes are tried by bisection with a short finetuning each; the one that is found is then done in
    full, and the next larger ones where that is not sure to hold on other images, too (`chance`).
    Where none is, the one that comes nearest.
    """
    allowed = job.options.goals.max_map_drop
    assert allowed is not None
    sizes, order = decisions.SIZES, decisions.orders(job.options.goals)[0]
    _expect(job, plan, len(sizes))
    low, high = 0, len(sizes)  # sizes[low - 1] holds, sizes[high] does not
    trial = 0
    while low < high:
        middle, trial = (low + high) // 2, trial + 1
        with job.bar.stage(_trial(trial)):
            key = f"lost at {sizes[middle]:g}"
            drop = job.line.value(key, later(partial(_lost, job, plan, order), sizes[middle]))
        job.bar.say(f"Size: {sizes[middle]:.1%} of the parameters lose {drop:+.3f} after a trial")
        low, high = (middle + 1, high) if drop <= allowed else (low, middle)
    tried: list[tuple[Amount, dict[str, Inputs], Drop]] = []
    for size in reversed(sizes[: max(low, 1)]):
        amount = _of_size(order, size)
        job.bar.times.forget()
        models = slim(job, plan, amount, f"at-{size:g}-")
        drop = drop_after(job, models["tuned"], f"worth at {size:g}")
        tried.append((amount, models, drop))
        holds = drop.at_most <= allowed
        job.bar.say(f"At {size:.1%}: {drop}: {'holds' if holds else 'not sure to hold'}")
        if holds:
            return tried[-1]
    return min(tried, key=lambda each: each[2].at_most)


def drop_after(job: Job, tuned: Inputs, key: str) -> Drop:
    """What the finetuned network lost on the development share, noted under `key`."""

    def measured() -> dict[str, float]:
        base, small = (job.line.found_by(model, job.scoring) for model in (job.base, tuned))
        return vars(drop_between(base, small, job.classes, job.elsewhere, job.options.seed))

    with job.bar.stage("score on the development share"):
        return Drop(**job.line.value(key, measured))


def trials_s(job: Job, plan: Epochs) -> float:
    """Seconds of all trials of sizes, at most."""
    return len(decisions.SIZES).bit_length() * (trial_s(job) + job.pace.of(plan.trial))


def _of_size(order: Order, size: float) -> Amount:
    return Amount(order, ("--target-params", repr(size)))


def _expect(job: Job, plan: Epochs, sizes: int) -> None:
    """What the bar is to expect; which sizes come, nobody knows."""
    trials = sizes.bit_length()
    for number in range(1, trials + 1):
        job.bar.times.expect(_trial(number), trials_s(job, plan) / trials, trains=True)
    expect_slim(job, plan)


def _trial(number: int) -> str:
    return f"trial {number} of a size"


def _lost(job: Job, plan: Epochs, order: Order, size: float) -> float:
    """mAP@.5 lost after a cut and a short training."""
    key, words = f"try-{size:g}", cut_words(job, _of_size(order, size))
    cut = job.line.pruned(f"{key}-cut", job.base, [*words, "--repair", "64"])
    tuned = job.line.trained(key, cut, train_words(job, plan.trial, decisions.FINETUNING))
    return job.worth - scored(job, tuned)
