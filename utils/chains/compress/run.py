"""A compression from its first look to the pair that is handed over. Killed, it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ...command.errors import UserError
from ...command.progress import duration
from ...data.darknet_files import DataSpec, load_data_file, load_list
from ...detection.development import write_choices
from ...detection.options import Development, Inputs, Scoring
from ...network.cfg_of import read_cfg
from ..journal import Journal
from . import decisions
from .decisions import Epochs
from .ending import finish
from .estimate import Pace, measure_pace
from .options import CompressOptions
from .stages import Line, Tools, copied

DEVELOPMENT = Development(0.3, most=100)

_GOALS = {"--target-latency": "--latency", "--target-file": "--file-kb", "--target-": "--keep-"}


@dataclass(frozen=True)
class Job:
    """A compression that has begun.

    base: the network as it came, in the run's folder; teacher: that one, unless another was named.
    scoring: on the development share. worth: mAP@.5 of base on it.
    """

    options: CompressOptions
    line: Line
    base: Inputs
    teacher: Inputs
    scoring: Scoring
    worth: float
    pace: Pace
    epochs: int


def compress(options: CompressOptions, journal: Journal, tools: Tools) -> Inputs | None:
    """All stages that are left; the pair that is handed over, None for a dry run.

    Raises UserError for goals that cannot be met and for a network that was not trained.
    """
    if "found" not in journal.content:
        journal.note(found={}, commands={})
    spec = load_data_file(options.data)
    seeded = replace(DEVELOPMENT, seed=options.seed)
    line = Line(journal, tools, write_choices(spec, journal.folder, seeded))
    job = _opened(options, line, spec)
    ranking = _ranking(job) if options.goals.of_size else decisions.rankings(options.goals)[0]
    pulls = _pull_pays(job, ranking) if options.goals.of_size else True
    plan = decisions.split(job.epochs, pulls)
    _tell_plan(job, ranking, plan)
    if options.dry_run:
        print(f"dry run: nothing was trained; to go on: compress.py --resume {journal.folder}")
        return None
    if options.goals.of_size:
        found = _slimmed(job, ranking, plan, _goal_words(job))
    else:
        ranking, found = _as_small_as_holds(job, plan)
    return finish(options, line, job.base, found, plan, ranking)


def _opened(options: CompressOptions, line: Line, spec: DataSpec) -> Job:
    """The network and what is measured of it before anything is decided."""
    base = copied(options.inputs, line.folder, options.data, line.tools.build)
    images = len({path for _, path in load_list(spec.require("train"))})
    machine = options.machine
    workers = 2 if machine.workers < 0 else machine.workers
    scoring = Scoring(
        str(line.data), "cfg", "cfg", machine.batch_size, workers, machine.device, options.seed
    )
    figures = line.value("base", lambda: vars(line.score(base, scoring)))
    worth = figures["map50"] or 0.0
    if worth < decisions.NOTHING:
        raise UserError(
            f"{options.inputs.weights}: finds nothing in {options.data} (mAP@.5 {worth:.3f} on "
            f"training images); train it first: python train.py --weights {base.weights} "
            f"--data {options.data}"
        )

    def measured() -> dict[str, float]:
        network = line.tools.build(read_cfg(base.cfg), base.img_size, weights=base.weights)
        return vars(measure_pace(network, scoring, images))

    pace = Pace(**line.value("pace", measured))
    epochs = options.epochs or decisions.default_epochs(images)
    if options.hours is not None:
        epochs = int(options.hours * 3600 / pace.of(1))
        if epochs < 1:
            raise UserError(
                f"--hours {options.hours:g}: an epoch takes {duration(pace.of(1))} on this machine"
            )
    teacher = options.teacher or base
    return Job(options, line, base, teacher, scoring, worth, pace, epochs)


def _goal_words(job: Job) -> list[str]:
    return job.options.goals.words(job.line.value("base", dict)["file_bytes"])


def _cut_words(job: Job, ranking: str, goal: list[str]) -> list[str]:
    words = decisions.cut_words(goal, ranking, job.options.seed, job.options.goals)
    return [*words, *job.options.machine.prune_words]


def _scored(job: Job, model: Inputs, words: list[str]) -> float:
    """mAP@.5 on the development share of what a cut leaves, before any training."""
    try:
        return job.line.tried(model, words).map50 or 0.0
    except UserError as error:
        # The flags of the scripts are not those that this user typed.
        told = str(error)
        for theirs, ours in _GOALS.items():
            told = told.replace(theirs, ours)
        raise UserError(told) from None


def _ranking(job: Job) -> str:
    """What ranks the channels best, by what a cut to the goal leaves on the development share."""
    names = decisions.rankings(job.options.goals)

    def tried(name: str) -> float:
        words = [*_cut_words(job, name, _goal_words(job)), "--repair", "64"]
        return _scored(job, job.base, words)

    scores = [job.line.value(f"ranked by {name}", _later(tried, name)) for name in names]
    chosen = names[decisions.best_of(scores)]
    told = ", ".join(f"{name} {score:.3f}" for name, score in zip(names, scores, strict=True))
    why = "leads" if chosen != names[0] else "none leads it clearly"
    print(f"Ranking: {chosen} ({why}; mAP@.5 after the cut, kernels fitted again: {told})")
    return chosen


def _pull_pays(job: Job, ranking: str) -> bool:
    """Whether to pull before the cut: not where the cut is nearly free already."""
    lost = job.worth - job.line.value(f"ranked by {ranking}", float)
    free = lost <= decisions.FREE
    why = "it costs next to nothing" if free else "so the channels are emptied by training first"
    print(f"A cut at once would cost {max(0.0, lost):.3f} mAP@.5 of {job.worth:.3f}: {why}")
    return not free


def _tell_plan(job: Job, ranking: str, plan: Epochs) -> None:
    pull = f"{plan.pull} epochs of pulling what {ranking} would cut, " if plan.pull else ""
    seconds = job.pace.of(plan.pull) + job.pace.of(plan.finetune)
    trials = ""
    if not job.options.goals.of_size:
        trials = f"3 to 4 trials of {plan.trial} epochs for the size, "
        seconds += job.pace.of(4 * plan.trial)
    print(
        f"Plan: {trials}{pull}the cut, {plan.finetune} epochs of finetuning; taught by "
        f"{job.teacher.weights}; at most {duration(seconds)} on this machine"
    )


def _slimmed(
    job: Job, ranking: str, plan: Epochs, goal: list[str], prefix: str = ""
) -> dict[str, Inputs]:
    """The models from the cut to the finetuned one, by their names."""
    line, base = job.line, job.base
    cut_from, order = base, ranking
    if plan.pull:
        aim = line.pruned(f"{prefix}aim", base, _cut_words(job, ranking, goal))
        _tell_stage(job, f"pull: {plan.pull} epochs", plan.all)
        links = str(aim.cfg).removesuffix(".cfg") + ".plan.json"
        words = _trainings(job, plan.pull)
        words += [*decisions.PULLING, "--sparsity-plan", links]
        cut_from = line.trained(f"{prefix}pulled", base, words)
        order = decisions.after_a_pull(ranking)
    words = _cut_words(job, order, goal)
    measured = _after_the_cut(job, prefix, cut_from, words)
    _tell_stage(job, "the cut", plan.finetune)
    cut = line.pruned(f"{prefix}cut", cut_from, [*words, *measured])
    _tell_stage(job, f"finetuning: {plan.finetune} epochs", plan.finetune)
    finetuning = [*_trainings(job, plan.finetune), *decisions.FINETUNING]
    return {"cut": cut, "tuned": line.trained(f"{prefix}tuned", cut, finetuning)}


def _trainings(job: Job, epochs: int) -> list[str]:
    options = job.options
    return decisions.train_words(epochs, options.seed, options.machine, job.teacher)


def _after_the_cut(job: Job, prefix: str, model: Inputs, words: list[str]) -> tuple[str, str]:
    """BN statistics measured again, or kernels fitted again: what the development share prefers."""

    def tried(how: tuple[str, str]) -> float:
        return _scored(job, model, [*words, *how])

    ways = decisions.AFTER_THE_CUT
    key = f"{prefix}after the cut"
    scores = [job.line.value(f"{key} {how[0]}", _later(tried, how)) for how in ways]
    chosen = ways[decisions.best_of(scores)]
    told = ", ".join(f"{how[0]} {score:.3f}" for how, score in zip(ways, scores, strict=True))
    print(f"After the cut: {' '.join(chosen)} (mAP@.5: {told})")
    return chosen


def _as_small_as_holds(job: Job, plan: Epochs) -> tuple[str, dict[str, Inputs]]:
    """The ranking and the models of the smallest size that loses no more than --max-map-drop.

    Sizes are tried by bisection with a short finetuning each; the one that is found is then done in
    full, and the next larger ones where that does not hold.
    """
    allowed = job.options.goals.max_map_drop
    assert allowed is not None
    sizes, ranking = decisions.SIZES, decisions.rankings(job.options.goals)[0]

    def lost(size: float) -> float:
        key = f"try-{size:g}"
        words = _cut_words(job, ranking, ["--target-params", repr(size)])
        cut = job.line.pruned(f"{key}-cut", job.base, [*words, "--repair", "64"])
        trial = [*_trainings(job, plan.trial), *decisions.FINETUNING]
        tuned = job.line.trained(key, cut, trial)
        return _drop(job, scored(tuned))

    def scored(model: Inputs) -> float:
        return job.line.score(model, job.scoring).map50 or 0.0

    low, high = 0, len(sizes)  # sizes[low - 1] holds, sizes[high] does not
    while low < high:
        middle = (low + high) // 2
        drop = job.line.value(f"lost at {sizes[middle]:g}", _later(lost, sizes[middle]))
        print(f"Size: {sizes[middle]:.1%} of the parameters lose {drop:+.3f} after a short trial")
        low, high = (middle + 1, high) if drop <= allowed else (low, middle)
    for size in reversed(sizes[: max(low, 1)]):
        goal = ["--target-params", repr(size)]
        models = _slimmed(job, ranking, plan, goal, f"at-{size:g}-")
        found = job.line.value(f"worth at {size:g}", _later(scored, models["tuned"]))
        drop = _drop(job, found)
        holds = drop <= allowed
        print(f"At {size:.1%}: {drop:+.3f} lost: {'holds' if holds else 'too much'}")
        if holds:
            return ranking, models
    raise UserError(
        f"--max-map-drop {allowed:g}: even {sizes[0]:.0%} of the parameters lose more in "
        f"{job.epochs} epochs; allow more, or more --epochs"
    )


def _drop(job: Job, found: float) -> float:
    """mAP@.5 lost on the development share."""
    return job.worth - found


def _tell_stage(job: Job, stage: str, epochs_left: int) -> None:
    """Which stage begins, and how long all that are left may take."""
    left = duration(job.pace.of(epochs_left))
    print(f"== {time.strftime('%H:%M')}, {stage} (at most {left} left in all)", flush=True)


def _later(measure: Callable[..., float], of: object) -> Callable[[], float]:
    """A measurement of something, to be made where it is not known yet."""
    return lambda: measure(of)
