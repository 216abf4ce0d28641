"""Models by runtimes: which files each needs, one process per pair, a table and a CSV of it all."""

from __future__ import annotations

import csv
import io
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from terminaltables import AsciiTable

from ...command.errors import UserError
from ...command.optional import INT8_NEEDS, NEEDS, missing
from ...command.progress import progress_bar
from ...data.darknet_files import load_data_file
from ...detection.as_the_cfg_says import chosen_fit
from ...network.cost import count_macs, count_parameters
from ...network.darknet import Network
from ..choose import darknet_weights
from ..export_model import target_files
from ..int8 import quantize_onnx, quantize_openvino
from ..ncnn_runtime import ncnn_from_onnx
from ..onnx.export import OnnxOptions, onnx_metadata, save_onnx
from ..openvino_runtime import openvino_from_onnx, save_openvino
from ..real_images import calibration_inputs
from .measure import Build, Measured, Task, measure

INT8 = "-int8"
Clock = Literal["wall", "cpu"]
RUNTIMES = ("torch", "opencv", "onnx", "openvino", "ncnn", "onnx-int8", "openvino-int8")


@dataclass(frozen=True)
class Candidate:
    """A model to compare: its name, its files, and what it costs whatever runs it."""

    name: str
    cfg: str
    weights: str
    img_size: tuple[int, int]
    parameters: int
    macs: int


@dataclass(frozen=True)
class Row:
    """One model in one runtime; `result` is a text where it could not be measured."""

    candidate: Candidate
    runtime: str
    result: Measured | str


def candidate(build: Build, pair: str, img_size: tuple[int, int] | None) -> Candidate:
    """The model of a `CFG,WEIGHTS`. Raises UserError for files that do not fit each other."""
    cfg, comma, weights = pair.partition(",")
    if not comma or not weights:
        raise UserError(f"--models {pair}: expected CFG,WEIGHTS, with a comma and without a blank")
    network = build(cfg, img_size, weights=weights)
    return Candidate(
        Path(weights).stem,
        cfg,
        weights,
        network.img_size,
        count_parameters(network.rules),
        count_macs(network.rules),
    )


def installed(runtimes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those that can run here, and a line for each that cannot."""
    usable, lines = [], []
    for runtime in runtimes:
        plain = runtime.removesuffix(INT8)
        absent = missing(INT8_NEEDS[plain] if runtime.endswith(INT8) else NEEDS[plain])
        if absent:
            lines.append(f"{runtime}: left out; pip install {' '.join(absent)}")
        else:
            usable.append(runtime)
    return usable, lines


def make_files(
    network: Network, runtimes: Sequence[str], folder: Path, data: str | None, images: int
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
        calibration = calibration_inputs(load_data_file(data), images, network.img_size, fit)
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


def measured_rows(
    build: Build, chosen: Candidate, runtimes: Sequence[str], folder: Path, task: Task, images: int
) -> Iterator[Row]:
    """One model in each runtime, each in a fresh process; `task` has what all have in common."""
    network = build(chosen.cfg, chosen.img_size, weights=chosen.weights)
    with darknet_weights(network, chosen.weights) as weights:
        made = make_files(network, runtimes, folder, task.data, images)
        made |= {runtime: weights for runtime in ("torch", "opencv") if runtime in runtimes}
        for runtime in progress_bar(runtimes, chosen.name, "runtime"):
            file = made[runtime]
            if isinstance(file, str):
                yield Row(chosen, runtime, file)
                continue
            own = Task(
                chosen.name, runtime, runtime.removesuffix(INT8), chosen.cfg, str(file),
                task.data, chosen.img_size, task.threads, task.runs,
            )  # fmt: skip
            yield Row(chosen, runtime, in_fresh_process(build, own))


def in_fresh_process(build: Build, task: Task) -> Measured | str:
    """`measure` in a process that has run nothing else; a text when that process dies."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(measure, build, task).result()
        except BrokenProcessPool:
            return "its process died (out of memory?)"


def table(rows: Sequence[Row]) -> str:
    """For the terminal: a line per model and runtime, then what could not be measured."""
    scored = any(isinstance(r.result, Measured) and r.result.map50 is not None for r in rows)
    heads = ["model", "runtime", "parameters", "MMACs", "file KB", "peak MB", "ms", "p95", "CPU ms"]
    lines = [heads + (["mAP@.5", "mAP@.5:.95"] if scored else [])]
    for row in rows:
        found = row.result
        if not isinstance(found, Measured):
            continue
        cells = [
            row.candidate.name,
            row.runtime,
            f"{row.candidate.parameters:,}",
            f"{row.candidate.macs / 1e6:.0f}",
            f"{found.file_bytes / 1e3:.0f}",
            f"{found.peak_mb:.0f}",
            f"{found.median_ms:.2f}",
            f"{found.p95_ms:.2f}",
            f"{found.cpu_ms:.2f}",
        ]
        if scored:
            cells += [f"{found.map50:.4f}", f"{found.map:.4f}"]
        lines.append(cells)
    drawn = AsciiTable(lines)
    drawn.justify_columns = dict.fromkeys(range(2, len(lines[0])), "right")
    failed = [
        f"{row.candidate.name} in {row.runtime}: {row.result}"
        for row in rows
        if isinstance(row.result, str)
    ]
    return "\n".join([str(drawn.table), *failed])


def csv_text(rows: Sequence[Row]) -> str:
    """All numbers, unrounded; empty where there are none."""
    text = io.StringIO()
    numbers = [field.name for field in fields(Measured)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "runtime", "parameters", "macs", *numbers, "problem"])
    for row in rows:
        found = row.result
        values = asdict(found) if isinstance(found, Measured) else dict.fromkeys(numbers)
        problem = found if isinstance(found, str) else ""
        head = [row.candidate.name, row.runtime, row.candidate.parameters, row.candidate.macs]
        writer.writerow([*head, *(values[name] for name in numbers), problem])
    return text.getvalue()
