"""A compression from its first look to the pair that is handed over. Killed, it goes on."""

from __future__ import annotations

from ...command.progress import duration
from ...detection.options import Inputs
from ...pruning.choice.scoring import remembered_scores
from ...runtimes.targets.advice import rounded_for, wanted
from ..journal import Journal
from . import decisions
from .choices import choose_order, pull_pays
from .decisions import Epochs, Order
from .ending import finish, tell
from .job import Amount, Job, open_job
from .latency import make_table
from .one_bar import one_bar
from .options import CompressOptions
from .slim import LAST, slim
from .smallest import as_small_as_holds, drop_after, trials_s
from .stages import Tools
from .widths import choose_widths


def compress(options: CompressOptions, journal: Journal, tools: Tools) -> Inputs | None:
    """All stages that are left; the pair that is handed over, None for a dry run.

    Raises UserError for goals that cannot be met and for a network that was not trained.
    """
    with one_bar(journal.folder) as bar, remembered_scores():
        with bar.stage("the network as it is"):
            job = open_job(options, journal, tools, bar)
        make_table(job)
        if options.target:
            bar.say(wanted(options.target, rounded_for(options.target, 1)))
        of_size = options.goals.of_size
        amount, pulls = _how_to_cut(job) if of_size else (Amount(_first_order(job), ()), True)
        plan = decisions.split(job.epochs, pulls)
        bar.say(_plan_words(job, amount.order, plan))
        if options.dry_run:
            bar.say(f"dry run: nothing was trained; to go on: {_resume(journal)}")
            return None
        drop = None
        if not of_size:
            amount, found, drop = as_small_as_holds(job, plan)
        else:
            found = slim(job, plan, amount)
            if options.goals.max_map_drop is not None:
                drop = drop_after(job, found["tuned"], "worth")
        with bar.stage(LAST):
            result = finish(job, found, plan, amount, drop)
    tell(job, result)
    return result.pair


def _how_to_cut(job: Job) -> tuple[Amount, bool]:
    """How a cut to the goals is said, and whether channels are to be emptied before it."""
    amount, left = choose_widths(job, *choose_order(job))
    return amount, pull_pays(job, left)


def _first_order(job: Job) -> Order:
    return decisions.orders(job.options.goals)[0]


def _resume(journal: Journal) -> str:
    return f"compress.py --resume {journal.folder}"


def _plan_words(job: Job, order: Order, plan: Epochs) -> str:
    """What is going to be done, and how long it may take."""
    pull = f"{plan.pull} epochs of pulling what {order} would cut, " if plan.pull else ""
    seconds = job.pace.of(plan.pull) + job.pace.of(plan.finetune)
    trials = ""
    if not job.options.goals.of_size:
        trials = f"3 to 4 trials of {plan.trial} epochs for the size, "
        seconds += trials_s(job, plan)
    return (
        f"Plan: {trials}{pull}the cut, {plan.finetune} epochs of finetuning; taught by "
        f"{job.teacher.weights}; at most {duration(seconds)} on this machine"
    )
