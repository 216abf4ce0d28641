"""What one model costs and is worth in one runtime, measured in a process of its own.

The process is asked to `load`, then for some rounds of passes, then to `finish`: between the rounds
of one model those of the others run, so that what slows the machine slows all of them.
"""

from __future__ import annotations

import contextlib
import resource
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from ...command.errors import UserError
from ...command.machine.timing import call_times_ms
from ...data.darknet_files import load_data_file
from ...detection.evaluate import Predict
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


@dataclass
class _Loaded:
    """What this process runs."""

    task: Task
    network: Network
    predict: Predict
    image: torch.Tensor
    start_mb: float
    times_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)  # of a pass, per round


_LOADED: list[_Loaded] = []  # one, for the life of the process


def load(build: Build, task: Task) -> str:
    """Open a task's model in this process, and warm it up; a text where it cannot be run."""
    try:
        network: Network = build(task.cfg, task.img_size)
        noise = np.random.default_rng(0).random((1, network.in_channels, *task.img_size))
        image = torch.from_numpy(noise.astype(np.float32))
        start_mb = _restart_peak_mb()
        predict = open_backend(task.backend, network, task.file, torch.device("cpu"), task.threads)
        call_times_ms(lambda: predict(image), runs=1, warmup=5)
    except UserError as error:
        return str(error)
    _LOADED[:] = [_Loaded(task, network, predict, image, start_mb)]
    return ""


def time_a_round(runs: int) -> None:
    """Time so many passes of the loaded model; other models' rounds come between these."""
    (own,) = _LOADED
    busy = time.process_time()
    own.times_ms += call_times_ms(lambda: own.predict(own.image), runs=runs, warmup=0)
    own.cpu_ms.append(1e3 * (time.process_time() - busy) / runs)


def finish() -> Measured | str:
    """What the rounds gave, and the mAP; a text where the data cannot be scored."""
    (own,) = _LOADED
    task = own.task
    peak_mb = _peak_mb() - own.start_mb
    median, p95 = np.percentile(own.times_ms, (50, 95))
    size = _size(Path(task.file))
    cpu = float(np.median(own.cpu_ms)), min(own.cpu_ms), max(own.cpu_ms)
    found = Measured(size, float(median), float(p95), *cpu, max(peak_mb, 0.0))
    if not task.data:
        return found
    try:
        spec = load_data_file(task.data)
        scored = score(own.predict, spec, own.network, Scoring(batch_size=8, workers=0))
    except UserError as error:
        return str(error)
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
