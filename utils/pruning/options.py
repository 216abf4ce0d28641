"""What a prune is asked for, as plain values: nothing here needs a tensor, or a command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..command.errors import UserError
from ..detection.options import Inputs, Scoring
from ..network.options import BnEpsilon
from ..runtimes.options import Runtime
from .importance.options import Ranking
from .strategy import Strategy

Measure = Literal["params", "macs", "channels"]
Unit = Literal["ratio", "shortcuts"]

DEFAULT_SHORTCUTS = 8
LEAST_IMAGES = 2  # to measure BN statistics on: one has no variance where a map is a single cell


@dataclass(frozen=True)
class Budget:
    """The share of the parameters, MACs or channels that may stay."""

    measure: Measure
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UserError(f"--target-{self.measure}: must lie between 0 and 1, got {self.share}")

    def __str__(self) -> str:
        """As it stands in file names: `params0.3`."""
        return f"{self.measure}{self.share}"


@dataclass(frozen=True)
class LatencyBudget:
    """Milliseconds that one image may take (see `goals.latency_goal`)."""

    ms: float
    measure: Literal["latency-ms"] = "latency-ms"

    def __str__(self) -> str:
        """As it stands in file names: `latency12.5ms`."""
        return f"latency{self.ms:g}ms"


@dataclass(frozen=True)
class SweepWish:
    """Which values of what to try; without `max_map_drop` nothing is pruned after it.

    No values: search the whole range for `max_map_drop`.
    """

    unit: Unit
    values: tuple[float, ...]
    max_map_drop: float | None


@dataclass(frozen=True)
class LayerRules:
    """What layers may lose beside the strategy's own rule.

    round_to: counts kept are multiples of it. max_ratio: share of its channels that a layer loses
    at most. exclude, only: layers by index, range (3-20) or kind. compat: nothing that the known
    suite could not prune.
    """

    round_to: int = 1
    max_ratio: float = 1.0
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    compat: bool = False


@dataclass(frozen=True)
class Outputs:
    """What is written: the pruned files beside the inputs, and what a user names.

    force: over files of an earlier run. dry_run: nothing at all. report: a folder for report.html
    and report.json. sweep: a folder for sweep.csv and sweep.png; "": a new one below runs/sweep.
    """

    force: bool = False
    dry_run: bool = False
    report: str = ""
    sweep: str = ""


@dataclass(frozen=True)
class Typed:
    """What a user typed, for reports: the flags by name, and the words of the command."""

    flags: Mapping[str, object] = field(default_factory=dict)
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class PruneOptions:
    """A prune: of what, by which strategy, how much, and what comes of it.

    How much: `ratio` of the channels (None: the strategy's own), or a `budget` in its place, or
    the values of a `sweep`; `shortcuts` residual blocks; each layer keeps `layer_keep` of its
    channels at least, where the strategy has such a floor. `runtime` is what a latency is measured
    in. `recalibrate`: training images to measure the BN statistics on again, None: not.
    """

    strategy: Strategy
    inputs: Inputs
    scoring: Scoring = field(default_factory=Scoring)
    ratio: float | None = None
    budget: Budget | LatencyBudget | None = None
    sweep: SweepWish | None = None
    shortcuts: int = DEFAULT_SHORTCUTS
    layer_keep: float = 0.01
    rules: LayerRules = field(default_factory=LayerRules)
    ranking: Ranking = field(default_factory=Ranking)
    runtime: Runtime = "torch"
    recalibrate: int | None = None
    bn_epsilon: BnEpsilon = "darknet"
    strict_darknet: bool = False
    outputs: Outputs = field(default_factory=Outputs)
    typed: Typed = field(default_factory=Typed)

    def __post_init__(self) -> None:
        for flag, value in (
            (self.strategy.ratio_flag, self.ratio or 0.0),
            ("--layer_keep", self.layer_keep),
            ("--max-ratio", self.rules.max_ratio),
        ):
            if not 0 <= value <= 1:
                raise UserError(f"{flag}: must lie between 0 and 1, got {value}")
        wishes = {
            "--importance taylor": self.ranking.importance == "taylor",
            "--recalibrate": self.recalibrate is not None,
        }
        for flag, wished in wishes.items():
            if wished and not self.scoring.data:
                raise UserError(f"{flag}: needs --data, since it is measured on training images")

    @property
    def chosen_ratio(self) -> float:
        """The share of the channels to remove: as given, else the strategy's own; 0 without."""
        if self.strategy.channels is None:
            return 0.0
        return self.strategy.ratio if self.ratio is None else self.ratio

    @property
    def chosen_shortcuts(self) -> int:
        """Residual blocks to remove; 0 where the strategy removes none."""
        return self.shortcuts if self.strategy.blocks else 0

    @property
    def floor(self) -> float:
        """The share of its channels that each layer keeps; 0 where the strategy has no floor."""
        return self.layer_keep if self.strategy.has_floor else 0.0

    def told(self) -> dict[str, Any]:
        """The options for a report: as they were typed, or, called from Python, as they are."""
        return dict(self.typed.flags) or asdict(self)
