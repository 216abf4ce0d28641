"""Models by runtimes: which files each needs, one process per pair, and what is kept of it all."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import cast

import torch
from tqdm import tqdm

from ...command.errors import UserError
from ...command.folders import require_free, whole_folder
from ...command.progress import progress_bar
from ...data.darknet_files import DataSpec, load_data_file
from ...detection.as_the_cfg_says import chosen_fit
from ...detection.options import Inputs
from ...detection.score import require_classes
from ...network.cost import count_macs, count_parameters
from ...network.darknet import Build, Network
from ..choose import darknet_weights
from ..export.options import target_files
from ..int8 import quantize_onnx, quantize_openvino
from ..ncnn_runtime import ncnn_from_onnx
from ..onnx.export import OnnxOptions, onnx_metadata, save_onnx
from ..openvino_runtime import openvino_from_onnx, save_openvino
from ..options import Backend
from ..real_images import calibration_inputs
from .measure import Task, measure
from .options import INT8, Clock, CompareOptions, installed
from .results import Candidate, Measured, Row, csv_text


def compare_models(options: CompareOptions, build: Build) -> list[Row]:
    """Measure each model in each runtime that is installed; a line on stderr for each.

    What is not installed is said on stdout and left out. Raises UserError where nothing is
    installed, for files that do not fit each other, two models of one name, and data of other
    classes.
    """
    usable, absent = installed(options.runtimes)
    print("\n".join(absent), end="\n" if absent else "")
    if not usable:
        raise UserError(f"--runtimes {','.join(options.runtimes)}: none of them is installed")
    if options.output:
        require_free(options.output, "--output")
    spec = load_data_file(options.data) if options.data else None
    chosen = candidates(options.models, build, spec)
    rows: list[Row] = []
    for model in progress_bar(chosen, "comparing", "model"):
        with tempfile.TemporaryDirectory() as folder:
            for row in measured_rows(model, usable, Path(folder), options, build):
                rows.append(row)
                tqdm.write(str(row), file=sys.stderr)
    if options.output:
        keep(rows, options.output, options.clock)
    return rows


def candidates(models: Sequence[Inputs], build: Build, spec: DataSpec | None) -> list[Candidate]:
    """The models. Raises UserError when two have one name, or other classes than the data."""
    found = []
    for model in models:
        network: Network = build(model.cfg, model.img_size, weights=model.weights)
        if spec:
            require_classes(spec, network)
        found.append(
            Candidate(
                Path(model.weights).stem,
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
        raise UserError(f"--models: two weights are called {twice}; rename one")
    return found


def measured_rows(
    chosen: Candidate, runtimes: Sequence[str], folder: Path, options: CompareOptions, build: Build
) -> Iterator[Row]:
    """One model in each runtime, each in a fresh process; `folder` takes the files for them."""
    network: Network = build(chosen.cfg, chosen.img_size, weights=chosen.weights)
    with darknet_weights(network, chosen.weights) as weights:
        made = make_files(network, runtimes, folder, options.data, options.calibration_images)
        made |= {runtime: weights for runtime in ("torch", "opencv") if runtime in runtimes}
        for runtime in progress_bar(runtimes, chosen.name, "runtime"):
            file = made[runtime]
            if isinstance(file, str):
                yield Row(chosen, runtime, file)
                continue
            task = Task(
                backend=cast(Backend, runtime.removesuffix(INT8)),
                cfg=chosen.cfg,
                file=str(file),
                data=options.data,
                img_size=chosen.img_size,
                threads=options.threads or torch.get_num_threads(),
                runs=options.runs,
            )
            yield Row(chosen, runtime, in_fresh_process(build, task))


def make_files(
    network: Network, runtimes: Sequence[str], folder: Path, data: str, images: int
) -> dict[str, Path | str]:
    """What each runtime opens, made from a loaded network; a text where that cannot be made."""
    made: dict[str, Path | str] = {}
    metadata = onnx_metadata(network, [str(k) for k in range(network.nc)])
    plain = folder / "model.onnx"
    if any(r.startswith(("onnx", "openvino")) for r in runtimes):
        save_onnx(network, plain, OnnxOptions(network.img_size), metadata)
    calibration = []
    if data and any(r.endswith(INT8) for r in runtimes):
        fit = chosen_fit("cfg", network.cfg)
        calibration = calibration_inputs(
            load_data_file(data), images, network.img_size, fit, network.in_channels
        )
    for runtime in runtimes:
        if runtime.endswith(INT8) and not calibration:
            made[runtime] = "needs --data to calibrate on"
            continue
        path = folder / f"{runtime}.onnx"
        if runtime == "onnx":
            path = plain
        elif runtime == "onnx-int8":
            quantize_onnx(plain, path, calibration)
        elif runtime.startswith("openvino"):
            path = path.with_suffix(".xml")
            model = openvino_from_onnx(plain, metadata)
            int8 = runtime.endswith(INT8)
            save_openvino(quantize_openvino(model, calibration) if int8 else model, path, False)
        elif runtime == "ncnn":
            save_onnx(network, path, OnnxOptions(network.img_size, raw=True), metadata)
            path = target_files(folder / "model", "ncnn")[0]
            ncnn_from_onnx(folder / "ncnn.onnx", path, network.img_size, network.in_channels, False)
        made[runtime] = path
    return made


def in_fresh_process(build: Build, task: Task) -> Measured | str:
    """`measure` in a process that has run nothing else; a text when that process dies."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(measure, build, task).result()
        except BrokenProcessPool:
            return "its process died (out of memory?)"


def keep(rows: Sequence[Row], output: str, clock: Clock) -> None:
    """Write compare.csv and, where something was scored, compare.png, into a new folder."""
    from .chart import save_comparison  # matplotlib takes a second to load

    with whole_folder(output, "--output") as folder:
        (folder / "compare.csv").write_text(csv_text(rows), encoding="utf-8")
        save_comparison(folder / "compare.png", rows, clock)
