"""Goals in milliseconds: one table for all prunes of a run, and aims that hold end to end.

The table's promise is off by what does not add up layer by layer. So what a cut takes in the
runtime is measured, and the milliseconds that the prune aims at by the table are corrected.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from ...cfg import plain_text
from ...command.errors import UserError
from ...command.files import atomic_write
from ...command.machine.device import pick_device
from ...command.machine.timing import time_alternately_ms
from ...detection.options import Inputs
from ...pruning.goals.measured_table import measure_table_file
from ...pruning.goals.table_file import read_table_file, write_table_file
from ...runtimes.options import Pass
from ...runtimes.passes import pass_of
from .job import TABLE, Amount, Job, cut_words

_TRIES = 5
_NEAR = (0.94, 1.02)  # of the goal: what an aim is left at
RUNS, WARMUP, MOST_S = 40, 3, 30.0


def make_table(job: Job) -> None:
    """Measure the table that all prunes of this run go by, or keep the one that was given.

    Raises UserError for what the runtime cannot load.
    """
    target, goals = job.line.folder / TABLE, job.options.goals
    if goals.latency_ms is None or target.is_file():
        return
    if goals.latency_table:
        with atomic_write(target) as temporary:
            shutil.copyfile(goals.latency_table, temporary)
        return
    machine = job.options.machine
    with job.bar.stage("latency table"):
        build = job.line.tools.build
        table = measure_table_file(job.base, goals.runtime or "torch", build, machine.device)
        write_table_file(table, target)


def aimed_at(job: Job, key: str, model: Inputs, amount: Amount) -> Amount:
    """The amount with the aim at which a cut of `model` takes as long as the goal, end to end.

    As it is where no latency is asked for, and where the table is of another device.
    """
    goals = job.options.goals
    if goals.latency_ms is None or goals.latency_table:
        return amount
    goal_ms = aim_ms = goals.latency_ms
    said, nearest = [], math.inf
    as_it_is = cache(partial(pass_in_runtime, job, job.base))  # making its file may take a minute
    with job.bar.stage(f"{key}aim in milliseconds"):
        for number in range(1, _TRIES + 1):
            tried = _aiming(amount, aim_ms)
            name = f"{key}latency {number}"
            measured_ms = job.line.value(name, partial(_measured_ms, job, model, tried, as_it_is))
            if measured_ms is None:  # no cut has that aim: the one before is the nearest
                break
            said.append(f"{aim_ms:.3g} by the table are {measured_ms:.3g}")
            if _off(measured_ms / goal_ms) < nearest:
                amount, nearest = tried, _off(measured_ms / goal_ms)
            if _NEAR[0] <= measured_ms / goal_ms <= _NEAR[1]:
                break
            aim_ms *= goal_ms / measured_ms
    runtime = goals.runtime or "torch"
    job.bar.say(f"Milliseconds in {runtime}: {', '.join(said)}; the goal is {goal_ms:g}")
    return amount


def _off(ratio: float) -> float:
    """How bad it is to take `ratio` of the goal: too long is twice as bad as too short."""
    return 2 * math.log(ratio) if ratio > 1 else -math.log(ratio)


def _aiming(amount: Amount, ms: float) -> Amount:
    """The same, with so many milliseconds by the table."""
    words = list(amount.words)
    words[words.index("--target-latency-ms") + 1] = repr(round(ms, 4))
    return replace(amount, words=tuple(words))


def at_the_tables_speed(job: Job, calls: Sequence[Callable[[], object]]) -> float:
    """Milliseconds of the second of two passes on a machine as fast as the table's.

    The first is that of the network as it is. On a CPU their ratio is of processor time, in turns,
    which other work on the machine hardly touches; how long the first takes, the table knows.
    """
    on_cpu = pick_device(job.options.machine.device).type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    before, after = time_alternately_ms(calls, RUNS, WARMUP, MOST_S, clock)
    whole_ms = read_table_file(str(job.line.folder / TABLE)).whole_ms["p10"]
    return after.median_ms / before.median_ms * whole_ms


def _measured_ms(
    job: Job, model: Inputs, amount: Amount, as_it_is: Callable[[], Pass]
) -> float | None:
    """What the cut takes in the runtime, of the fastest runs; None where it cannot be had."""
    line = job.line
    try:
        cfg, state = line.cut_alone(model, cut_words(job, amount))
    except UserError:
        return None
    network = line.tools.build(cfg, model.img_size, weights=state)
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / "cut"
        stem.with_suffix(".cfg").write_text(plain_text(cfg), encoding="utf-8")
        network.save_weights(stem.with_suffix(".weights"))
        cut = Inputs(f"{stem}.cfg", f"{stem}.weights", model.img_size)
        return at_the_tables_speed(job, [as_it_is(), pass_in_runtime(job, cut)])


def pass_in_runtime(job: Job, model: Inputs) -> Pass:
    """A forward pass of a model in what the latency is of. Raises UserError as `pass_of`."""
    device = pick_device(job.options.machine.device)
    return pass_of(job.options.goals.runtime or "torch", model, job.line.tools.build, device)
