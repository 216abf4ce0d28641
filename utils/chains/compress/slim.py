"""The stages that every compression goes through: pull, cut, finetuning."""

from __future__ import annotations

from ...detection.options import Inputs
from . import decisions
from .choices import choose_after_the_cut, trial_s
from .decisions import Epochs
from .job import Amount, Job, cut_words, train_words
from .latency import aimed_at

LAST = "figures of the result"  # the stage that comes after these


def expect_slim(job: Job, plan: Epochs, prefix: str = "") -> None:
    """Tell the bar what `slim` is going to do."""
    expect, short_s = job.bar.times.expect, trial_s(job)
    if plan.pull:
        expect(f"{prefix}cut to aim at", short_s)
        expect(f"{prefix}pull", job.pace.of(plan.pull), trains=True)
        expect(f"{prefix}pulled trials after the cut", short_s)
    expect(f"{prefix}trials after the cut", short_s)
    expect(f"{prefix}cut", short_s)
    expect(f"{prefix}finetuning", job.pace.of(plan.finetune), trains=True)
    expect(LAST, 4 * job.scored_s)


def slim(job: Job, plan: Epochs, amount: Amount, prefix: str = "") -> dict[str, Inputs]:
    """The cut model and the finetuned one; `prefix` tells the stages of one size from another's."""
    line, bar = job.line, job.bar
    expect_slim(job, plan, prefix)
    cut_from, words = job.base, cut_words(job, aimed_at(job, prefix, job.base, amount))
    measured, left = choose_after_the_cut(job, prefix, cut_from, words)
    if plan.pull:
        with bar.stage(f"{prefix}cut to aim at"):
            aim = line.pruned(f"{prefix}aim", job.base, words)
        pulled = _pulled(job, plan, aim, prefix)
        after = Amount(decisions.after_a_pull(amount.order), amount.words)
        others = cut_words(job, aimed_at(job, f"{prefix}pulled ", pulled, after))
        mended, kept = choose_after_the_cut(job, f"{prefix}pulled ", pulled, others)
        if kept >= left:
            cut_from, words, measured = pulled, others, mended
        else:
            bar.say(f"The pull left {kept:.3f} where a cut at once leaves {left:.3f}: it is undone")
    with bar.stage(f"{prefix}cut"):
        cut = line.pruned(f"{prefix}cut", cut_from, [*words, *measured])
    finetuning = train_words(job, plan.finetune, decisions.FINETUNING)
    with bar.stage(f"{prefix}finetuning"):
        tuned = line.trained(f"{prefix}tuned", cut, finetuning)
    return {"cut": cut, "tuned": tuned}


def _pulled(job: Job, plan: Epochs, aim: Inputs, prefix: str) -> Inputs:
    """The network after it was trained to do without what a cut to `aim` took."""
    links = str(aim.cfg).removesuffix(".cfg") + ".plan.json"
    words = train_words(job, plan.pull, (*decisions.PULLING, "--sparsity-plan", links))
    with job.bar.stage(f"{prefix}pull"):
        return job.line.trained(f"{prefix}pulled", job.base, words)
