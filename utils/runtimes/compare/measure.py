"""What one model costs and is worth in one runtime, measured in a process of its own."""

from __future__ import annotations

import contextlib
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ...command.errors import UserError
from ...command.machine.timing import call_times_ms
from ...data.darknet_files import load_data_file
from ...detection.options import Scoring
from ...detection.score import score
from ...network.darknet import Build, Network
from ..choose import open_backend
from ..options import Backend
from .results import Measured

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # what Linux takes as "forget the peak" (man 5 proc)


@dataclass(frozen=True)
class Task:
    """A model, as files, and the runtime that is to run it."""

    backend: Backend
    cfg: str
    file: str  # what the backend opens
    data: str  # a .data file to score on; '': no scoring
    img_size: tuple[int, int]  # (height, width) in pixels
    threads: int
    runs: int


def measure(build: Build, task: Task) -> Measured | str:
    """Run a task in this process; a UserError's text where the runtime cannot run the model."""
    try:
        return _measure(build, task)
    except UserError as error:
        return str(error)


def _measure(build: Build, task: Task) -> Measured:
    network: Network = build(task.cfg, task.img_size)
    noise = np.random.default_rng(0).random((1, network.in_channels, *task.img_size))
    image = torch.from_numpy(noise.astype(np.float32))
    start_mb = _restart_peak_mb()
    predict = open_backend(task.backend, network, task.file, torch.device("cpu"), task.threads)
    call_times_ms(lambda: predict(image), runs=1, warmup=5)
    busy = time.process_time()
    times_ms = call_times_ms(lambda: predict(image), runs=task.runs, warmup=0)
    cpu_ms = 1e3 * (time.process_time() - busy) / task.runs
    peak_mb = _peak_mb() - start_mb
    median, p95 = np.percentile(times_ms, (50, 95))
    size = _size(Path(task.file))
    found = Measured(size, float(median), float(p95), cpu_ms, max(peak_mb, 0.0))
    if not task.data:
        return found
    spec = load_data_file(task.data)
    scored = score(predict, spec, network, Scoring(batch_size=8, workers=0))
    return replace(found, map50=scored.map50, map=scored.map)


def _size(path: Path) -> int:
    """Of the file and, where the numbers lie in a second one, of that too."""
    beside = path.with_suffix(".bin")
    apart = path.suffix in (".xml", ".param") and beside.is_file()
    return path.stat().st_size + (beside.stat().st_size if apart else 0)


def _restart_peak_mb() -> float:
    """The process's size now; on Linux, its peak counts from here."""
    with contextlib.suppress(OSError):  # elsewhere the peak of the whole process has to do
        _CLEAR.write_text(_RESET_PEAK)
    return _peak_mb()


def _peak_mb() -> float:
    """Largest resident size so far."""
    try:
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
