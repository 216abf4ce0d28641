"""A compression that has begun: the network, what is known of it, and how cuts of it are said."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...command.errors import UserError
from ...command.progress import duration
from ...data.darknet_files import DataSpec, load_data_file, load_list
from ...detection.development import write_choices
from ...detection.options import Development, Inputs, Scoring
from ...network.cfg_of import is_ultralytics, own_cfg, read_cfg
from ...runtimes.targets.advice import rounded_for
from ..journal import Journal
from . import decisions
from .decisions import Order
from .estimate import Pace, measure_pace
from .one_bar import OneBar
from .options import CompressOptions
from .stages import Line, Tools, copied

DEVELOPMENT = Development(0.3, most=100)

TABLE = "latency.json"  # in the run's folder: the times that all its prunes go by

# The flags of the scripts are not those that this user typed.
_GOALS = {"--target-latency": "--latency", "--target-file": "--file-kb", "--target-": "--keep-"}
_FLOOR = "with these floors and ties"


@dataclass(frozen=True)
class Job:
    """A compression that has begun.

    base: the network as it came, in the run's folder; teacher: that one, unless another was named.
    scoring: on the development share. worth: mAP@.5 of base on it, found in `scored_s` seconds.
    shown: how many images the share has; elsewhere: the validation list (without one, as many).
    classes: of the data.
    """

    options: CompressOptions
    line: Line
    base: Inputs
    teacher: Inputs
    scoring: Scoring
    worth: float
    scored_s: float
    pace: Pace
    epochs: int
    classes: int
    shown: int
    elsewhere: int

    @property
    def bar(self) -> OneBar:
        """What shows how far it is."""
        return self.line.bar


@dataclass(frozen=True)
class Amount:
    """How a cut is said to slim_prune.py: what ranks the channels, and how many go from where."""

    order: Order
    words: tuple[str, ...]


def open_job(options: CompressOptions, journal: Journal, tools: Tools, bar: OneBar) -> Job:
    """The network and what is measured of it before anything is decided.

    Raises UserError for a network that was not trained, and for less time than one epoch takes.
    """
    if "found" not in journal.content:
        journal.note(found={}, commands={})
    spec = load_data_file(options.data)
    seeded = replace(DEVELOPMENT, seed=options.seed)
    line = Line(journal, tools, write_choices(spec, journal.folder, seeded), bar)
    base = copied(options.inputs, line.folder, options.data, tools.build)
    machine = options.machine
    workers = 2 if machine.workers < 0 else machine.workers
    scoring = Scoring(
        str(line.data), "cfg", "cfg", machine.batch_size, workers, machine.device, options.seed
    )
    worth, scored_s = _worth(options, line, base, scoring)
    pace, images = _pace(line, base, scoring, spec)
    epochs = options.epochs or decisions.default_epochs(images)
    if options.hours is not None:
        epochs = int(options.hours * 3600 / pace.of(1))
        if epochs < 1:
            raise UserError(
                f"--hours {options.hours:g}: an epoch takes {duration(pace.of(1))} on this machine"
            )
    teacher = options.teacher or base
    share = load_list(load_data_file(line.data).require("valid"))
    elsewhere = load_list(spec.require("valid")) if spec.valid else share
    known = (worth, scored_s, pace, epochs)
    return Job(options, line, base, teacher, scoring, *known, spec.nc, len(share), len(elsewhere))


def _worth(
    options: CompressOptions, line: Line, base: Inputs, scoring: Scoring
) -> tuple[float, float]:
    """mAP@.5 of the network as it is, and how long finding it took. Raises UserError for none."""

    def scored() -> dict[str, object]:
        began = time.perf_counter()
        found = vars(line.score(base, scoring))
        return {**found, "seconds": time.perf_counter() - began}

    figures = line.value("base", scored)
    worth = figures["map50"] or 0.0
    if worth < decisions.NOTHING:
        raise UserError(
            f"{options.inputs.weights}: finds nothing in {options.data} (mAP@.5 {worth:.3f} on "
            f"training images); train it first: {_training(options)}, then this command again "
            "with --weights runs/train/base/best.pt"
        )
    return worth, figures["seconds"]


def _training(options: CompressOptions) -> str:
    """The commands that make a network of the one that was named which finds something."""
    inputs = options.inputs
    size = "" if inputs.img_size is None else " --img-size " + " ".join(map(str, inputs.img_size))
    data = f"--data {options.data}{size}"
    if inputs.cfg == inputs.weights and is_ultralytics(inputs.weights):
        name = f"cfg/{Path(inputs.weights).stem}-mine"
        return (
            f"python translate.py --weights {inputs.weights} {data} --output {name}.cfg, then "
            f"python train.py --weights {name}.weights {data} --name base"
        )
    cfg = "" if own_cfg(inputs.weights) == inputs.cfg else f"--cfg {inputs.cfg} "
    return f"python train.py {cfg}--weights {inputs.weights} {data} --name base"


def _pace(line: Line, base: Inputs, scoring: Scoring, spec: DataSpec) -> tuple[Pace, int]:
    """How long an epoch takes, and of how many images it is."""
    images = len({path for _, path in load_list(spec.require("train"))})

    def measured() -> dict[str, float]:
        network = line.tools.build(read_cfg(base.cfg), base.img_size, weights=base.weights)
        return vars(measure_pace(network, scoring, images))

    return Pace(**line.value("pace", measured)), images


def goal_words(job: Job) -> tuple[str, ...]:
    """The goals of size as flags of a prune; a latency comes last (`latency.aimed_at`)."""
    goals = job.options.goals
    words = goals.words(job.line.value("base", dict)["file_bytes"])
    if goals.latency_ms is not None:
        words += ["--latency-table", str(job.line.folder / TABLE)]
        words += ["--target-latency-ms", repr(goals.latency_ms)]
    return tuple(words)


def cut_words(job: Job, amount: Amount) -> list[str]:
    """All flags of slim_prune.py for a cut but those of what comes after it."""
    options = job.options
    words = decisions.cut_words(
        amount.words, amount.order, options.seed, options.goals, options.target
    )
    return [*words, *options.machine.prune_words]


def train_words(job: Job, epochs: int, how: Sequence[str]) -> list[str]:
    """All flags of train.py; `how` tells a pull from a finetuning, and the user's come last."""
    options = job.options
    words = decisions.train_words(epochs, options.seed, options.machine, job.teacher)
    return [*words, *how, *options.train_flags]


def scored_cuts(
    job: Job, model: Inputs, words: list[str], ways: Sequence[Sequence[str]]
) -> list[float]:
    """mAP@.5 on the development share of what a cut leaves, put right in each way, not trained.

    Raises UserError for goals that no cut can meet, in the words of this command.
    """
    try:
        return [each.map50 or 0.0 for each in job.line.tried(model, words, ways)]
    except UserError as error:
        raise in_our_words(error, job.options) from None


def in_our_words(error: UserError, options: CompressOptions) -> UserError:
    """What a prune says of a goal, as the user of this command named it."""
    told = str(error)
    for theirs, ours in _GOALS.items():
        told = told.replace(theirs, ours)
    floor = decisions.floor_of(options.goals)
    multiple = rounded_for(options.target, 1)
    whole = f" in multiples of {multiple} (--for {options.target})" if multiple > 1 else ""
    least = f"where each layer keeps its floor, {floor:.0%} of its channels{whole},"
    return UserError(told.replace(_FLOOR, least))


def scored(job: Job, model: Inputs) -> float:
    """mAP@.5 of a model on the development share."""
    return job.line.score(model, job.scoring).map50 or 0.0


def later(measure: Callable[..., Any], of: object) -> Callable[[], Any]:
    """A measurement of something, to be made where it is not known yet."""
    return lambda: measure(of)
