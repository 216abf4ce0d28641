"""A run of search.py: trials until the study has enough of them, and what they found."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...command.errors import UserError
from ...command.files import sha256
from ...command.machine.allocator import keep_freed_memory
from ...command.progress import progress_bar
from ...network.darknet import Build
from ...pruning.sensitivity.caps import cfg_hash, state_hash
from ...pruning.sensitivity.record import Ranked
from ...pruning.widths.file import Width, Widths
from .options import SearchOptions
from .scene import Scene, open_scene
from .shared import Shared
from .start import LEAST, NAMES, first_shares
from .storage import open_study, storage_errors


@dataclass(frozen=True)
class Trial:
    """A cut network: which draw of the study, what it costs, keeps of each group, and scores."""

    draw: int
    map50: float
    map: float
    params: int
    macs: int
    file: int
    kept: tuple[int, ...]
    seconds: float

    @property
    def origin(self) -> str:
        """Where its shares come from: a first guess, or the sampler."""
        return NAMES[self.draw] if self.draw < len(NAMES) else "search"


@dataclass(frozen=True)
class Found:
    """What a study knows.

    groups: the layers of each, and how many channels it has. whole: the uncut network's costs.
    here, here_s: trials that this run did, and in how many seconds. base_seconds: how long scoring
    the uncut network took.
    """

    cfg_sha256: str
    ranked: Ranked
    groups: tuple[tuple[tuple[int, ...], int], ...]
    whole: dict[str, int]
    base_map50: float
    base_seconds: float
    images: int
    trials: tuple[Trial, ...]
    here: int
    here_s: float

    @property
    def best(self) -> tuple[Trial, ...]:
        """All trials, the best first; of equal ones, the earlier."""
        return tuple(sorted(self.trials, key=lambda trial: (-trial.map50, -trial.map, trial.draw)))

    def widths(self, trial: Trial) -> Widths:
        """What a trial keeps, as a file of --widths has it."""
        groups = tuple(
            Width(layers, channels, keep)
            for (layers, channels), keep in zip(self.groups, trial.kept, strict=True)
        )
        return Widths(self.cfg_sha256, self.ranked, groups)


def search_widths(options: SearchOptions, folder: Path, build: Build) -> Found:
    """Do trials until the study has `options.trials`; all that it knows in the end.

    `build` is `models.Darknet`, `folder` the run's. Raises UserError.
    """
    keep_freed_memory()
    scene = open_scene(options, folder, build)
    study = open_study(options.storage, options.study, folder, _about(scene))
    names = _names(scene)

    @cache
    def first() -> list[dict[str, float]]:
        return [dict(zip(names, shares, strict=True)) for shares in first_shares(scene)]

    shared = Shared(
        study, options.scoring.seed, lambda draw: first()[draw] if draw < len(NAMES) else {}
    )
    with storage_errors(options.storage):
        shared.settle()
        done = len(shared.results())
        started = time.perf_counter()
        bar = progress_bar(
            _asked(shared, options.trials), "search", "net", max(0, options.trials - done)
        )
        here, best = 0, max((value for _, value, _ in shared.results()), default=0.0)
        for trial in bar:
            with shared.working(trial):
                value, found = _tried(scene, trial, names)
                here += shared.tell(trial, value, found)
            best = max(best, value)
            bar.set_postfix({"mAP@.5": f"{value:.3f}", "best": f"{best:.3f}"}, refresh=False)
        seconds = time.perf_counter() - started
        return _collected(scene, shared, here, seconds)


def _asked(shared: Shared, trials: int) -> Iterator[Any]:
    while (trial := shared.next(trials)) is not None:
        yield trial


def _names(scene: Scene) -> list[str]:
    """What the study calls each group's share: by its first layer, as a group may have dozens."""
    return [f"layer {group.layers[0]}" for group in scene.allotter.groups]


def _tried(scene: Scene, trial: Any, names: Sequence[str]) -> tuple[float, dict[str, object]]:
    """mAP@.5 of the network that a trial's shares give under the budgets, and what it is."""
    started = time.perf_counter()
    shares = [trial.suggest_float(name, LEAST, 1.0, log=True) for name in names]
    plan = scene.allotter.scaled(shares, scene.budgets.hold)
    assert plan is not None  # one channel of each layer is within the budgets
    metrics = scene.judge.cut(plan)
    return metrics.map50, {
        "map": metrics.map,
        **scene.budgets.costs(plan),
        "kept": list(scene.allotter.kept(plan)),
        "seconds": time.perf_counter() - started,
    }


def _about(scene: Scene) -> dict[str, object]:
    """What must be the same for all processes that work on a study."""
    options, state = scene.options, scene.subject.state
    images = hashlib.sha256("\n".join(scene.held_names()).encode()).hexdigest()
    return {
        "cfg": cfg_hash(scene.subject.network.cfg),
        "weights": state_hash(state),
        "budgets": [str(budget) for budget in options.budgets],
        "strategy": options.script,
        "importance": asdict(options.ranking),
        "layers": [list(group.layers) for group in scene.allotter.groups],
        "multiples": options.round_to,
        "images": images,
        "input size": list(scene.subject.network.img_size),
        "images for BN statistics": options.recalibrate,
        "batch size": options.scoring.batch_size,
        "sensitivity": sha256(options.sensitivity) if options.sensitivity else "from gradients",
        "seed": options.scoring.seed,
    }


def _collected(scene: Scene, shared: Shared, here: int, seconds: float) -> Found:
    options = scene.options
    trials = []
    for draw, value, found in shared.results():
        trials.append(Trial(
            draw, value, found["map"], found["params"], found["macs"], found["file"],
            tuple(found["kept"]), found["seconds"],
        ))  # fmt: skip
    if not trials:
        raise UserError("the study has no trial that came to its end")
    return Found(
        cfg_hash(scene.subject.network.cfg),
        Ranked(options.script, options.ranking.importance, options.ranking.normalization),
        tuple((group.layers, len(group.classes)) for group in scene.allotter.groups),
        dict(scene.budgets.whole),
        scene.base.map50,
        scene.base_seconds,
        scene.held.images,
        tuple(trials),
        here,
        seconds,
    )
