"""What compress.py is asked for, as plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ...command.errors import UserError
from ...command.option_values import require_choice, require_count, require_share
from ...detection.options import Inputs
from ...pruning.options import Measure
from ...runtimes.needs import is_8_bits, of_any_bits
from ...runtimes.options import FORMATS, PAIRS, RUNTIMES
from ...runtimes.targets.names import TARGETS, Target

EXPORTS: tuple[str, ...] = (*PAIRS, *FORMATS, *(each for each in RUNTIMES if is_8_bits(each)))


@dataclass(frozen=True)
class Goals:
    """What must hold in the end; None: nobody asked for it. All that are given hold together.

    keep_*: shares of the network as it is. file_kb: kilobytes (1,000 bytes) of the .weights file.
    latency_ms: of one image, in `runtime` on this machine (None: torch; onnx-int8 and its like: a
    file in 8 bits), or by `latency_table`, a file of times of any device. max_map_drop: mAP@.5
    that may be lost; by itself, the network becomes as small as that allows.
    """

    keep_params: float | None = None
    keep_macs: float | None = None
    file_kb: float | None = None
    latency_ms: float | None = None
    runtime: str | None = None
    max_map_drop: float | None = None
    latency_table: str = ""

    def __post_init__(self) -> None:
        for flag, share in (("--keep-params", self.keep_params), ("--keep-macs", self.keep_macs)):
            require_share(flag, share or 0.0)
            if share == 1:
                raise UserError(f"{flag} 1: leaves all of it, so there is nothing to do")
        require_share("--max-map-drop", self.max_map_drop or 0.0)
        if self.runtime is not None:
            require_choice("--runtime", self.runtime, RUNTIMES)
        self._require_one_clock()
        for flag, value in (("--file-kb", self.file_kb), ("--latency-ms", self.latency_ms)):
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"{flag}: must be a positive number, got {value:g}")
        if not self.of_size and self.max_map_drop is None:
            raise UserError(
                "what is the goal? name one or several: --keep-params 0.25, --keep-macs, --file-kb,"
                " --latency-ms, --max-map-drop 0.01"
            )

    def _require_one_clock(self) -> None:
        """Raise UserError where times are to come from two places, or are not asked for at all."""
        for flag, given in (("--runtime", self.runtime), ("--latency-table", self.latency_table)):
            if given and self.latency_ms is None:
                raise UserError(f"{flag} {given}: says what times are of; give --latency-ms, too")
        if self.runtime and self.latency_table:
            raise UserError(
                f"--runtime {self.runtime} and --latency-table: a table says what its times were "
                "measured in; give one of the two"
            )

    @property
    def of_size(self) -> bool:
        """Whether any of them says how small or fast the network is to be."""
        sizes = (self.keep_params, self.keep_macs, self.file_kb, self.latency_ms)
        return any(size is not None for size in sizes)

    def shares(self, file_bytes: int) -> dict[Measure, float]:
        """What may stay of each; `file_bytes`: of the network as it is. Raises UserError."""
        found: dict[Measure, float] = {}
        if self.keep_params is not None:
            found["params"] = self.keep_params
        if self.keep_macs is not None:
            found["macs"] = self.keep_macs
        if self.file_kb is not None:
            share = self.file_kb * 1000 / file_bytes
            if share >= 1:
                raise UserError(
                    f"--file-kb {self.file_kb:g}: the file has {file_bytes / 1000:.0f} KB as it is"
                )
            found["file"] = math.floor(share * 1e6) / 1e6
        return found

    def words(self, file_bytes: int) -> list[str]:
        """The flags of a pruning script for all but a latency. Raises UserError as `shares`."""
        words: list[str] = []
        for measure, share in self.shares(file_bytes).items():
            words += [f"--target-{measure}", repr(share)]
        return words


@dataclass(frozen=True)
class Machine:
    """What trains, and how it is fed."""

    batch_size: int = 16
    workers: int = -1
    device: str = ""
    threads: int | None = None
    cache_images: bool = False

    def __post_init__(self) -> None:
        require_count("--batch-size", self.batch_size)

    @property
    def train_words(self) -> list[str]:
        """The flags of train.py for it."""
        words = ["--batch-size", str(self.batch_size), "--workers", str(self.workers)]
        words += ["--device", self.device] if self.device else []
        words += ["--threads", str(self.threads)] if self.threads else []
        return words + (["--cache-images"] if self.cache_images else [])

    @property
    def prune_words(self) -> list[str]:
        """The flags of a pruning script for it."""
        workers = 2 if self.workers < 0 else self.workers
        words = ["--batch-size", str(self.batch_size), "--workers", str(workers)]
        return words + (["--device", self.device] if self.device else [])


@dataclass(frozen=True)
class CompressOptions:
    """A compression: of what, to which goals, with how much work.

    epochs: of all trainings together; None: from the size of the data, or from `hours`. teacher: a
    network that is better than the one to compress; None: that one teaches. search: for widths;
    None: if there is time for it. dry_run: plan only. train_flags: what both trainings are given on
    their command lines beside what is decided. made_for: what is to run the result; None: what a
    latency is measured in.
    """

    inputs: Inputs
    data: str
    goals: Goals
    epochs: int | None = None
    hours: float | None = None
    teacher: Inputs | None = None
    exports: tuple[str, ...] = ()
    machine: Machine = field(default_factory=Machine)
    seed: int = 0
    dry_run: bool = False
    search: bool | None = None
    train_flags: tuple[str, ...] = ()
    made_for: Target | None = None

    def __post_init__(self) -> None:
        if not self.data:
            raise UserError("--data: is needed, to train on and to choose by")
        if self.epochs is not None:
            require_count("--epochs", self.epochs)
        if self.hours is not None and not 0 < self.hours < math.inf:
            raise UserError(f"--hours: must be a positive number, got {self.hours:g}")
        if self.epochs is not None and self.hours is not None:
            raise UserError("--epochs and --hours: each says how much work it may be; give one")
        if self.search and (self.goals.latency_ms is not None or not self.goals.of_size):
            raise UserError(
                "--search: finds widths within --keep-params, --keep-macs and --file-kb; of a "
                "latency, a table of times says which channels go, and --max-map-drop alone "
                "searches the size"
            )
        if self.seed < 0:
            raise UserError(f"--seed: must not be negative, got {self.seed}")

    @property
    def target(self) -> Target | None:
        """What is to run the result, if it is known: its kernels have counts that they like."""
        timed = of_any_bits(self.goals.runtime or "")
        return self.made_for or next((each for each in TARGETS if each == timed), None)

    @property
    def needs(self) -> tuple[str, ...]:
        """The runtimes that must be installed."""
        timed = self.goals.latency_ms is not None and not self.goals.latency_table
        runtimes = (self.goals.runtime or "torch",) if timed else ()
        return (*runtimes, *(kind for kind in self.exports if kind != "darknet"))
