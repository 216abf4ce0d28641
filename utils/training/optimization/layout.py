"""How images lie in memory while a network trains: channels last or not, whichever is faster here.

Kernels differ: at some sizes the gradients of one layout cost a fifth more than the other's. So a
long training tries both for a few steps, and notes what it found for the next one of this network,
size and machine. The two round differently: what was chosen is saved with the run.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...command.errors import UserError
from ...command.files import atomic_write
from ...command.machine.processor import processor_name
from ...command.outside.json_file import read_json
from .precision import Precision

# Trying takes 8 steps: no more than 1% of a training. Below this work nobody waits for it.
LEAST_STEPS, LEAST_OPERATIONS = 800, 1e13
TIMED_STEPS = 3
CLEARLY = 0.95  # of the usual layout's time: what is less sure is chance
_MOST_NOTE_BYTES = 1 << 16

logger = logging.getLogger("train")


@dataclass(frozen=True)
class Work:
    """A training as far as its length goes: MACs are of one image's forward pass."""

    batch_size: int
    steps: int
    macs: int

    @property
    def is_long(self) -> bool:
        """Whether a few steps to try layouts pay. A backward pass costs two forward passes."""
        operations = 3 * 2 * self.macs * self.batch_size * self.steps
        return self.steps >= LEAST_STEPS and operations >= LEAST_OPERATIONS


def faster_layout(
    network: nn.Module,
    image_shape: tuple[int, int, int],
    precision: Precision,
    work: Work,
    cfg: str,
) -> bool:
    """Whether channels last is the layout to train a CPU's `network` with.

    `image_shape` (C, H, W); `cfg` is its text. The network and all random numbers stay as they are.
    """
    if precision.device_type != "cpu" or not work.is_long:
        return True
    note = cache_folder() / f"layout-{_key(cfg, image_shape, work.batch_size, precision)}.json"
    known = _noted(note)
    if known is not None:
        return known
    seconds = {last: [] for last in (True, False)}  # type: dict[bool, list[float]]
    steps = {
        last: _step(network, image_shape, precision, work.batch_size, last) for last in seconds
    }
    with torch.random.fork_rng(devices=[]):
        for number in range(1 + TIMED_STEPS):
            for last, step in steps.items():
                start = time.perf_counter()
                step()
                if number:
                    seconds[last].append(time.perf_counter() - start)
    # The fastest of each: other work on the machine only ever adds.
    best = {last: min(found) for last, found in seconds.items()}
    chosen = best[False] >= CLEARLY * best[True]
    logger.info(
        "layout: %s, chosen by trying: a step takes %.2f s with channels last, %.2f s without",
        "channels last" if chosen else "channels first", best[True], best[False],
    )  # fmt: skip
    _write_note(note, chosen)
    return chosen


def warn_if_slower(
    network: nn.Module, image_shape: tuple[int, int, int], precision: Precision, batch_size: int
) -> None:
    """Tell how much longer a step takes in a type that the processor has no units for."""
    plain = Precision(precision.device_type, torch.float32)
    both = [_step(network, image_shape, how, batch_size, True) for how in (precision, plain)]
    spent: list[list[float]] = [[], []]
    with torch.random.fork_rng(devices=[]):
        for number in range(3):
            for step, found in zip(both, spent, strict=True):
                start = time.process_time()
                step()
                if number:
                    found.append(time.process_time() - start)
    factor = statistics.median(spent[0]) / max(statistics.median(spent[1]), 1e-9)
    logger.warning(
        "--amp bf16: this processor does not multiply bfloat16: a step takes %.1f times the "
        "processor time of float32 here (just measured); --amp auto would take float32", factor,
    )  # fmt: skip


def cache_folder() -> Path:
    """Where what was measured on this machine is kept: $XDG_CACHE_HOME/darkslim, or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "darkslim"


def _step(
    network: nn.Module,
    image_shape: tuple[int, int, int],
    precision: Precision,
    batch_size: int,
    channels_last: bool,
) -> Callable[[], None]:
    """Forward and backward of a copy; the loss, which takes a few hundredths, is left out."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    trial = copy.deepcopy(network).train().to(memory_format=layout)  # type: ignore[call-overload]
    images = torch.full((batch_size, *image_shape), 0.5).to(memory_format=layout)
    images += torch.linspace(-0.5, 0.5, images[0].numel()).view(image_shape)

    def step() -> None:
        with precision.autocast():
            raw: list[Tensor] = trial(images)
        torch.stack([x.float().square().mean() for x in raw]).sum().backward()  # type: ignore[no-untyped-call]
        trial.zero_grad(set_to_none=True)

    return step


def _key(cfg: str, image_shape: tuple[int, int, int], batch_size: int, precision: Precision) -> str:
    parts = (
        processor_name(), os.cpu_count(), torch.__version__, torch.get_num_threads(),
        precision.dtype, image_shape, batch_size, cfg,
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _noted(path: Path) -> bool | None:
    """What an earlier training found; None where nothing readable stands there."""
    if not path.is_file():
        return None
    try:
        found = read_json(path, "a note of darkslim", _MOST_NOTE_BYTES)
    except UserError:
        return None
    last = found.get("channels_last") if isinstance(found, dict) else None
    return last if isinstance(last, bool) else None


def _write_note(path: Path, channels_last: bool) -> None:
    """Keep a choice for the next training; a place that takes no files costs only time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_text(f'{{"channels_last": {str(channels_last).lower()}}}\n', "utf-8")
    except (OSError, UserError) as error:
        logger.debug("%s: %s", path, error)
