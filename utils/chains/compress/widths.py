"""Widths by search, as a stage of its own: cut networks are scored while the time for it lasts.

The search scores on images of the training list that the development share does not hold. The best
of many flatters itself; on the share the best few are compared with the ranking alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from ...command.optional import missing
from ...data.darknet_files import load_data_file, load_list
from ...detection.development import write_development
from ...detection.options import Development
from ...pruning.importance.options import Ranking
from ...pruning.options import Budget
from ...pruning.widths.file import write_widths
from ...runtimes.targets.advice import rounded_for
from ..search.options import IMAGES, RECALIBRATE, SearchOptions
from . import decisions
from .choices import scored_at_once
from .decisions import Order
from .job import DEVELOPMENT, Amount, Job, later

STAGE, FOLDER = "search for widths", "search"
_CUT_S = 0.2  # to choose, cut and build a network, beside what scoring it takes


def choose_widths(job: Job, amount: Amount, alone: float) -> tuple[Amount, float]:
    """How the cut is to be said after a search, if there is time for one; mAP@.5 that it leaves.

    alone: what the ranking by itself leaves.
    """
    trials = job.line.value("search trials", lambda: _trials(job))
    if not trials:
        return amount, alone
    job.bar.times.expect(STAGE, trials * _one_trial_s(job), trains=True)
    with job.bar.stage(STAGE):
        files = _searched(job, amount, trials)
    order = Order(amount.order.kind, amount.order.among)
    found = [Amount(order, ("--widths", str(file))) for file in files]
    scores = [alone]
    for number, each in enumerate(found, 1):
        with job.bar.stage(f"trial of widths {number}"):
            scores.append(
                max(job.line.value(f"widths {number}", later(partial(scored_at_once, job), each)))
            )
    best = decisions.best_of(scores, job.shown)
    why = "leads" if best else "not clearly better, so left out"
    job.bar.say(
        f"Widths: {trials} cut networks searched; the best has mAP@.5 {max(scores[1:]):.3f} on the "
        f"development share, the ranking alone {alone:.3f}: {why}"
    )
    return ((amount, *found)[best], scores[best])


def _trials(job: Job) -> int:
    """How many cut networks there is time for; 0: no search."""
    wish, goals = job.options.search, job.options.goals
    if wish is False or goals.latency_ms is not None or (wish is None and missing(("optuna",))):
        return 0
    budget_s = decisions.SEARCH_SHARE * job.pace.of(job.epochs)
    return decisions.search_trials(bool(wish), budget_s, _one_trial_s(job))


def _one_trial_s(job: Job) -> float:
    """Seconds of one cut network in the search, about: by the images that it reads."""
    shown = len(load_list(load_data_file(job.line.data).require("valid")))
    return job.scored_s / shown * (IMAGES + RECALIBRATE) + _CUT_S


def _searched(job: Job, amount: Amount, trials: int) -> list[Path]:
    """The files of the best widths, the best first; those that are there are not sought again."""
    folder = job.line.folder / FOLDER
    names = [folder / f"widths-{number}.json" for number in range(1, decisions.BEST_WIDTHS + 1)]
    if not all(name.is_file() for name in names):
        from ..search.run import search_widths  # optuna loads for those who search

        options = _options(job, amount, trials, folder)
        found = search_widths(options, folder, job.line.tools.build)
        for name, trial in zip(names, found.best[: len(names)], strict=True):
            write_widths(found.widths(trial), name)
    return names


def _options(job: Job, amount: Amount, trials: int, folder: Path) -> SearchOptions:
    options = job.options
    seeded = replace(DEVELOPMENT, seed=options.seed)
    others = write_development(load_data_file(options.data), folder, seeded)
    shares = options.goals.shares(job.line.value("base", dict)["file_bytes"])
    # Without what it is divided by: how many go from where is the search's to say.
    kind = Ranking(amount.order.kind, among=amount.order.among)  # type: ignore[arg-type]
    return SearchOptions(
        "slim_prune",
        job.line.tools.strategy,
        job.base,
        replace(job.scoring, data=str(others)),
        tuple(Budget(measure, share) for measure, share in shares.items()),
        trials,
        Development(0.5, options.seed, IMAGES),
        kind,
        round_to=rounded_for(options.target, 1),
    )
