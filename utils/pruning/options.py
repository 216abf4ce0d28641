"""What a prune is asked for, as plain values: nothing here needs a tensor, or a command line.

    PruneOptions(STRATEGY, Inputs("cfg/my.cfg", "weights/last.pt"), ratio=0.5)

Values that the flags would refuse are refused here in the same words, so that a caller in Python
hears of them before any work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from ..command.errors import UserError
from ..command.option_values import require_choice, require_count, require_share
from ..detection.options import Inputs, Scoring
from ..network.options import BnEpsilon
from ..runtimes.options import Runtime
from .importance.options import Ranking
from .strategy import Strategy

Measure = Literal["params", "macs", "channels", "file"]
Unit = Literal["ratio", "shortcuts"]
Form = Literal["", "ultralytics"]

DEFAULT_SHORTCUTS = 8
RUNS = "runs/prune"
LEAST_IMAGES = 2  # to measure BN statistics on: one has no variance where a map is a single cell
_RANGES: Mapping[Unit, str] = {"ratio": "0.3:0.9:0.1", "shortcuts": "2:16:2"}  # examples


@dataclass(frozen=True)
class Budget:
    """The share of the parameters, MACs, channels or bytes of the file that may stay."""

    measure: Measure
    share: float

    def __post_init__(self) -> None:
        require_choice("a budget's measure", self.measure, get_args(Measure))
        require_share(f"--target-{self.measure}", self.share)

    def __str__(self) -> str:
        """As it stands in file names: `params0.3`."""
        return f"{self.measure}{self.share}"


@dataclass(frozen=True)
class LatencyBudget:
    """Milliseconds that one image may take (see `goals.latency_goal`)."""

    ms: float
    measure: Literal["latency-ms"] = "latency-ms"

    def __post_init__(self) -> None:
        if not 0 < self.ms < math.inf:
            raise UserError(
                f"--target-latency-ms: must be a positive number of milliseconds, got {self.ms:g}"
            )

    def __str__(self) -> str:
        """As it stands in file names: `latency12.5ms`."""
        return f"latency{self.ms:g}ms"


@dataclass(frozen=True)
class SweepWish:
    """Which values of what to try; without `max_map_drop` nothing is pruned after it.

    No values: search the whole range for `max_map_drop`.
    """

    unit: Unit
    values: tuple[float, ...] = ()
    max_map_drop: float | None = None

    def __post_init__(self) -> None:
        require_choice("a sweep's unit", self.unit, get_args(Unit))
        if self.max_map_drop is not None:
            require_share("--max-map-drop", self.max_map_drop)
        elif not self.values:
            raise UserError("a sweep needs values to try, or max_map_drop to search for one")


@dataclass(frozen=True)
class LayerRules:
    """What layers may lose beside the strategy's own rule.

    round_to: counts kept are multiples of it. max_ratio: share of its channels that a layer loses
    at most. exclude, only: layers by index, range (3-20) or kind. compat: nothing that the known
    suite could not prune. form: what is left can go back into these modules ("": any cfg can).
    """

    round_to: int = 1
    max_ratio: float = 1.0
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    compat: bool = False
    form: Form = ""

    def __post_init__(self) -> None:
        require_count("--round-to", self.round_to)
        require_choice("--form", self.form, get_args(Form))
        require_share("--max-ratio", self.max_ratio)


@dataclass(frozen=True)
class SensitivityLimit:
    """Caps from a file of sensitivity.py: groups may lose as much as costs `max_layer_drop`.

    The drop is in the file's own measure: mAP@.5, or a share of the loss. Groups that the file does
    not name stay whole.
    """

    file: str
    max_layer_drop: float

    def __post_init__(self) -> None:
        if not 0 <= self.max_layer_drop < math.inf:
            raise UserError(
                f"--max-layer-drop: must be a number of at least 0, got {self.max_layer_drop:g}"
            )


@dataclass(frozen=True)
class Outputs:
    """What is written: the pruned files, and what a user names.

    name: of the pruned files, which go to PROJECT/NAME; "": beside the inputs, under names made of
    the flags. force: over files of an earlier run. dry_run: nothing at all. report: a folder for
    report.html and report.json. sweep: a folder for sweep.csv and sweep.png; "": a new one below
    runs/sweep.
    """

    force: bool = False
    dry_run: bool = False
    report: str = ""
    sweep: str = ""
    name: str = ""
    project: str = RUNS


@dataclass(frozen=True)
class Typed:
    """What a user typed, for reports: the flags by name, and the words of the command."""

    flags: Mapping[str, object] = field(default_factory=dict)
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class PruneOptions:
    """A prune: of what, by which strategy, how much, and what comes of it.

    How much: `ratio` of the channels (None: the strategy's own), or `budgets` in its place that
    must all hold, or the values of a `sweep`; `shortcuts` residual blocks (None: 8); each layer
    keeps `layer_keep` of its channels at least, where the strategy has such a floor. `runtime` is
    what a latency is measured in. `recalibrate`: training images to measure the BN statistics on
    again, None: not.
    `repair`: training images to fit the kernels behind the cut on, before that; None: not.
    `at_most`: budgets are limits; where channels go in large groups, less may stay.
    `sensitivity`: what groups of layers may lose at most; None: whatever their scores say.
    `widths`: a file that says how many channels each group keeps, in the place of any amount.
    `latency_table`: a file of times, of any device; "": they are measured in `runtime`, here.
    """

    strategy: Strategy
    inputs: Inputs
    scoring: Scoring = field(default_factory=Scoring)
    ratio: float | None = None
    budgets: tuple[Budget | LatencyBudget, ...] = ()
    sweep: SweepWish | None = None
    shortcuts: int | None = None
    layer_keep: float = 0.01
    rules: LayerRules = field(default_factory=LayerRules)
    ranking: Ranking = field(default_factory=Ranking)
    runtime: Runtime = "torch"
    recalibrate: int | None = None
    bn_epsilon: BnEpsilon = "darknet"
    strict_darknet: bool = False
    outputs: Outputs = field(default_factory=Outputs)
    typed: Typed = field(default_factory=Typed)
    repair: int | None = None
    at_most: bool = False
    sensitivity: SensitivityLimit | None = None
    widths: str = ""
    latency_table: str = ""

    def __post_init__(self) -> None:
        _require_values(self)
        _require_amounts_that_fit(self)
        _require_images(self)

    @property
    def share_budgets(self) -> tuple[Budget, ...]:
        """Those that are a share of something."""
        return tuple(budget for budget in self.budgets if isinstance(budget, Budget))

    @property
    def latency_budget(self) -> LatencyBudget | None:
        """The one in milliseconds."""
        return next((b for b in self.budgets if isinstance(b, LatencyBudget)), None)

    @property
    def chosen_ratio(self) -> float:
        """The share of the channels to remove: as given, else the strategy's own; 0 without."""
        if self.strategy.channels is None:
            return 0.0
        return self.strategy.ratio if self.ratio is None else self.ratio

    @property
    def chosen_shortcuts(self) -> int:
        """Residual blocks to remove; 0 where the strategy removes none."""
        if not self.strategy.blocks:
            return 0
        return DEFAULT_SHORTCUTS if self.shortcuts is None else self.shortcuts

    @property
    def floor(self) -> float:
        """The share of its channels that each layer keeps; 0 where the strategy has no floor."""
        return self.layer_keep if self.strategy.has_floor else 0.0

    def told(self) -> dict[str, Any]:
        """The options for a report: as they were typed, or, called from Python, as they are."""
        as_they_are = {name: value for name, value in asdict(self).items() if name != "typed"}
        return dict(self.typed.flags) or as_they_are


def _require_values(options: PruneOptions) -> None:
    """Raise UserError for a value that no flag would take."""
    sweep = options.sweep
    swept = {sweep.unit: sweep.values} if sweep else {}
    for ratio in (options.ratio, *swept.get("ratio", ())):
        require_share(options.strategy.ratio_flag, ratio or 0.0)
    for count in (options.shortcuts, *swept.get("shortcuts", ())):
        require_count("--shortcuts", 1 if count is None else int(count))
    require_share("--layer-keep", options.layer_keep)
    require_count("--batch-size", options.scoring.batch_size)
    if options.scoring.seed < 0:
        raise UserError(f"--seed: must not be negative, got {options.scoring.seed}")
    for flag, images in (("--recalibrate", options.recalibrate), ("--repair", options.repair)):
        if images is not None:
            require_count(flag, images, LEAST_IMAGES)
    require_choice("--runtime", options.runtime, get_args(Runtime))
    require_choice("--bn-epsilon", options.bn_epsilon, get_args(BnEpsilon))


def _require_amounts_that_fit(options: PruneOptions) -> None:
    """Raise UserError where two parts say how much is to go, or one has no meaning here."""
    strategy, sweep = options.strategy, options.sweep
    budget = next(iter(options.budgets), None)
    if len({each.measure for each in options.budgets}) < len(options.budgets):
        raise UserError(f"--target-{budget and budget.measure}: given twice")
    unit = sweep.unit if sweep else None
    ratios = options.ratio is not None or (sweep is not None and unit == "ratio" and sweep.values)
    if budget is not None and ratios:
        raise UserError(
            f"--target-{budget.measure}: takes the place of {strategy.ratio_flag}; give one"
        )
    if strategy.channels is None and (ratios or budget is not None or unit == "ratio"):
        raise UserError("a strategy that removes blocks alone takes no ratio and no budget")
    if strategy.channels is None and options.ranking.among != "global":
        raise UserError("--ranking: is about channels; this strategy removes blocks alone")
    if strategy.channels is None and options.sensitivity is not None:
        raise UserError("--sensitivity: is about channels; this strategy removes blocks alone")
    if options.widths:
        _require_widths_alone(options)
    by_time = options.latency_budget is not None or options.ranking.per == "latency"
    if options.latency_table and not by_time:
        raise UserError(
            "--latency-table: says how long layers take, but nothing asks: give "
            "--target-latency-ms, or --importance KIND:latency"
        )
    if strategy.blocks and options.rules.form:
        raise UserError(
            f"--form {options.rules.form}: its modules cannot be without a residual block; take a "
            "script that removes channels alone"
        )
    if not strategy.blocks and (options.shortcuts is not None or unit == "shortcuts"):
        raise UserError("--shortcuts: this strategy removes no residual blocks")
    if sweep is not None:
        _require_fitting(options, sweep)
    elif options.outputs.sweep:
        raise UserError(
            "--output: is the folder of a sweep, but there is one value only; what is pruned is "
            "written beside its cfg and weights"
        )


def _require_widths_alone(options: PruneOptions) -> None:
    """Raise UserError for what says, too, how many channels go from where."""
    strategy, sweep, ranking = options.strategy, options.sweep, options.ranking
    if strategy.channels is None:
        raise UserError("--widths: is about channels; this strategy removes blocks alone")
    others = {
        strategy.ratio_flag: options.ratio is not None or bool(sweep and sweep.unit == "ratio"),
        **{f"--target-{budget.measure}": True for budget in options.budgets},
        "--sensitivity": options.sensitivity is not None,
        f"--importance {ranking.importance}:{ranking.per}": ranking.per is not None,
        f"--ranking {ranking.among}": ranking.among != "global",
    }
    for flag, given in others.items():
        if given:
            raise UserError(
                f"--widths: says how many channels go from where; {flag} has nothing left to say"
            )


def _require_fitting(options: PruneOptions, sweep: SweepWish) -> None:
    """Raise UserError for what a sweep cannot be combined with."""
    by_ratio = sweep.unit == "ratio"
    flag = options.strategy.ratio_flag if by_ratio else "--shortcuts"
    given = options.ratio if by_ratio else options.shortcuts
    searched = "--max-map-drop searches the value itself"
    why = f"{flag} holds several values" if sweep.values else searched
    for budget in options.budgets:
        raise UserError(f"--target-{budget.measure}: finds one ratio, but {why}")
    if given is not None:
        raise UserError(
            f"{flag} {given:g}: {why}; give a range, as {_RANGES[sweep.unit]}, or leave it out"
        )
    if sweep.max_map_drop is not None and not options.scoring.data:
        raise UserError("--max-map-drop: needs --data to score by")
    if options.outputs.report and sweep.max_map_drop is None:
        raise UserError(f"--report: reports a prune, but {why}, so that nothing is pruned")


def _require_images(options: PruneOptions) -> None:
    """Raise UserError where something is measured on training images, and there are none."""
    wishes = {
        f"--importance {options.ranking.importance}": options.ranking.needs_images,
        "--recalibrate": options.recalibrate is not None,
        "--repair": options.repair is not None,
    }
    for flag, wished in wishes.items():
        if wished and not options.scoring.data:
            raise UserError(f"{flag}: needs --data, since it is measured on training images")
