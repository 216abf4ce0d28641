"""Models by runtimes: which files each needs, one process per pair, and what is kept of it all."""

from __future__ import annotations

import copy
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import cast

import torch
from tqdm import tqdm

from ...command.errors import UserError
from ...command.files import alone
from ...command.folders import require_free, whole_folder
from ...command.machine.processor import processor_name
from ...command.progress import progress_bar
from ...command.words.short_names import short_names
from ...data.darknet_files import DataSpec, load_data_file
from ...detection.as_the_cfg_says import chosen_fit
from ...detection.options import Inputs
from ...detection.score import require_classes
from ...network.cost import count_macs, count_parameters
from ...network.darknet import Build, Network, names_of
from ...network.int8.convert import put_on_grids
from ..choose import darknet_weights
from ..files import FINETUNED, FROM_TORCH, FileOptions, graph_options, write_files
from ..needs import is_8_bits, of_any_bits, opencv_reads_cfg
from ..onnx.export import OnnxOptions, onnx_metadata, save_onnx
from ..options import Backend, Format, Pair, target_files
from ..real_images import Images, calibration_inputs
from .measure import Task, finish, load, time_a_round
from .options import CompareOptions, installed
from .results import Candidate, Measured, Row, csv_text

ROUNDS = 5  # of timing each model


def compare_models(options: CompareOptions, build: Build, command: Sequence[str] = ()) -> list[Row]:
    """Measure each model in each runtime that is installed; a line on stderr for each.

    `command` is what a page names as having made it.
    What is not installed is said on stdout and left out. Raises UserError where nothing is
    installed, for files that do not fit each other, two models of one name, and data of other
    classes. Models are timed in turns, runtime by runtime.
    """
    usable, absent = installed(options.runtimes)
    print("\n".join(absent), end="\n" if absent else "")
    if not usable:
        raise UserError(f"--runtimes {','.join(options.runtimes)}: none of them is installed")
    if not options.output:
        return _compared(options, usable, build)
    require_free(options.output, "--output")
    with alone(options.output):
        rows = _compared(options, usable, build)
        keep(rows, options, command)
    return rows


def _compared(options: CompareOptions, usable: Sequence[str], build: Build) -> list[Row]:
    spec = load_data_file(options.data) if options.data else None
    chosen = candidates(options.models, build, spec)
    rows: list[Row] = []
    with ExitStack() as stack:
        files = [stack.enter_context(made_files(one, usable, options, build)) for one in chosen]
        for runtime in progress_bar(usable, "comparing", "runtime"):
            tasks = [
                task_of(model, runtime, made[runtime], options)
                for model, made in zip(chosen, files, strict=True)
            ]
            for model, result in zip(chosen, measured_in_turns(build, tasks), strict=True):
                rows.append(Row(model, runtime, result))
                tqdm.write(str(rows[-1]), file=sys.stderr)
    rows.sort(key=lambda row: chosen.index(row.candidate))  # the runtimes keep their order
    return rows


def candidates(models: Sequence[Inputs], build: Build, spec: DataSpec | None) -> list[Candidate]:
    """The models. Raises UserError when two have one name, or other classes than the data."""
    found = []
    for name, model in zip(short_names([model.weights for model in models]), models, strict=True):
        network: Network = build(model.cfg, model.img_size, weights=model.weights).answering_()
        if spec:
            require_classes(spec, network)
        found.append(
            Candidate(
                name,
                model.cfg,
                model.weights,
                network.img_size,
                count_parameters(network.rules),
                count_macs(network.rules),
            )
        )
    names = [model.name for model in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"--models: {twice} is named twice")
    return found


@contextmanager
def made_files(
    chosen: Candidate, runtimes: Sequence[str], options: CompareOptions, build: Build
) -> Iterator[dict[str, Path | str]]:
    """What each runtime opens for one model (see `make_files`), while the block runs."""
    network: Network = build(chosen.cfg, chosen.img_size, weights=chosen.weights)
    with (
        tempfile.TemporaryDirectory() as folder,
        darknet_weights(network, chosen.weights) as weights,
    ):
        images = options.calibration_images
        network.answering_()  # what is made holds no more; torch and OpenCV read the pair as it is
        made = make_files(network, runtimes, Path(folder), options.data, images)
        by_cfg = ("torch", "opencv") if opencv_reads_cfg() else ("torch",)
        yield made | dict.fromkeys(by_cfg, weights)


def task_of(
    chosen: Candidate, runtime: str, file: Path | str, options: CompareOptions
) -> Task | str:
    """What a process is asked for; a text where there is no file to open."""
    if isinstance(file, str):
        return file
    return Task(
        backend=cast(Backend, of_any_bits(runtime)),
        cfg=chosen.cfg,
        file=str(file),
        data=options.data,
        img_size=chosen.img_size,
        threads=options.threads or torch.get_num_threads(),
        runs=options.runs,
    )


def measured_in_turns(build: Build, tasks: Sequence[Task | str]) -> list[Measured | str]:
    """Each task in a fresh process; their rounds alternate. A text stands for what cannot be run.

    A process that dies takes only its own result with it.
    """
    results: list[Measured | str | None] = [
        task if isinstance(task, str) else None for task in tasks
    ]
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pools = [stack.enter_context(ProcessPoolExecutor(1, mp_context=context)) for _ in tasks]

        def ask(work: Callable[..., Measured | str | None], *words: object) -> None:
            for place, (pool, task) in enumerate(zip(pools, tasks, strict=True)):
                if results[place] is None:
                    own = words or ((build, task) if work is load else ())
                    try:
                        said = pool.submit(work, *own).result()
                    except BrokenProcessPool:
                        said = "its process died (out of memory?)"
                    results[place] = said or None

        ask(load)
        runs = next((task.runs for task in tasks if isinstance(task, Task)), 0)
        for number in range(ROUNDS):
            share = runs // ROUNDS + (number < runs % ROUNDS)
            if share:
                ask(time_a_round, share)
        ask(finish)
    return [result or "not measured" for result in results]


def make_files(
    network: Network, runtimes: Sequence[str], folder: Path, data: str, images: int
) -> dict[str, Path | str]:
    """What each runtime opens, made from a loaded network; a text where that cannot be made."""
    made: dict[str, Path | str] = {}
    metadata = onnx_metadata(network, names_of(network))
    graphs: dict[OnnxOptions, Path] = {}  # of each kind once, for all that are made of it
    calibration: Images = ()
    if data and any(is_8_bits(r) for r in runtimes):
        fit = chosen_fit("cfg", network.cfg)
        calibration = calibration_inputs(
            load_data_file(data), images, network.img_size, fit, network.in_channels
        )
    for runtime in runtimes:
        backend = of_any_bits(runtime)
        int8 = is_8_bits(runtime)
        if backend == "torch" or (backend == "opencv" and opencv_reads_cfg()):
            continue
        kind, stem = cast(Format | Pair, backend), folder / runtime
        if int8 and network.ranges and kind in FINETUNED:
            options = FileOptions(kind, network.img_size, trained=True)
            write_files(_on_grids(network), stem, options, metadata)
            made[runtime] = target_files(stem, kind)[0]
            continue
        if int8 and not calibration:
            made[runtime] = "needs --data to calibrate on"
            continue
        options = FileOptions(kind, network.img_size, calibration=calibration if int8 else ())
        graph = graph_options(options)
        if backend not in FROM_TORCH and graph not in graphs:
            graphs[graph] = folder / f"graph{len(graphs)}.onnx"
            save_onnx(network, graphs[graph], graph, metadata)
        write_files(network, stem, options, metadata, graphs.get(graph))
        made[runtime] = target_files(stem, kind)[0]
    return made


def _on_grids(network: Network) -> Network:
    """A copy that computes as it was finetuned for int8."""
    made = copy.deepcopy(network)
    put_on_grids(made, made.ranges)
    return made


def keep(rows: Sequence[Row], options: CompareOptions, command: Sequence[str]) -> None:
    """Write compare.csv, compare.html and, where something was scored, compare.png."""
    from .chart import save_comparison  # matplotlib takes a second to load
    from .page import comparison_page

    assert options.output
    threads = options.threads or torch.get_num_threads()
    machine = f"Measured on {processor_name()}, threads: {threads}."
    created = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    page = comparison_page(rows, options.clock, command, created, machine)
    with whole_folder(options.output, "--output") as folder:
        (folder / "compare.csv").write_text(csv_text(rows), encoding="utf-8")
        (folder / "compare.html").write_text(page, encoding="utf-8")
        save_comparison(folder / "compare.png", rows, options.clock)
