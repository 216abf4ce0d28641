"""A run of sensitivity.py: from the options to points, each written down when it is measured."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from ...command.errors import UserError
from ...command.machine.allocator import keep_freed_memory
from ...command.progress import progress_bar
from ...data.darknet_files import load_data_file
from ...detection.development import write_development
from ...detection.options import Scoring
from ...detection.score import scoring_images
from ...network.darknet import Build, Network
from ...network.graph import ChannelGraph, channel_graph
from ...network.layers.ties import Ids
from ...network.named_layers import excluded_layers
from ...network.weights import State
from ...pruning.choice.scoring import channel_scores, comparable
from ...pruning.plan import PrunePlan
from ...pruning.sensitivity.caps import cfg_hash, state_hash
from ...pruning.sensitivity.groups import Cutter, Group, gone, make_cutter
from ...pruning.sensitivity.record import (
    Curve,
    Images,
    Measure,
    Point,
    Ranked,
    Scores,
    Sensitivity,
)
from ..journal import Journal
from .effects import predicted_change
from .held import Held
from .measure import Meter
from .options import SensitivityOptions
from .subject import images_beside, open_subject, require_finds

DEVELOPMENT = "development"  # the folder of the images' lists, in the run's


@dataclass(frozen=True, eq=False)
class _Asked:
    """A group cut to a share. Shares that cut the same channels are measured once: by their key."""

    group: Group
    share: float
    plan: PrunePlan

    @property
    def key(self) -> str:
        return f"{self.group.name}: {len(self.gone)}"

    @cached_property
    def gone(self) -> Ids:
        return gone(self.plan, self.group)


def measure_network(options: SensitivityOptions, journal: Journal, build: Build) -> Sensitivity:
    """Measure what the journal does not hold yet, note every point; all of them in the end.

    `build` is `models.Darknet`. Raises UserError, also where the network is another one than the
    journal began with.
    """
    keep_freed_memory()
    subject = open_subject(options.inputs, build)
    network, state = subject.network, subject.state
    _require_same(journal, cfg=cfg_hash(network.cfg), weights=state_hash(state))
    spec = load_data_file(options.scoring.data)
    data = write_development(spec, journal.folder / DEVELOPMENT, options.development)
    how = replace(options.scoring, data=str(data))
    cutter = _cutter(options, network, state, how)
    asked = [
        _Asked(group, share, cutter.plan(group, share))
        for group in cutter.groups()
        for share in options.shares
    ]
    held = Held(scoring_images(load_data_file(data), network, how), how.batch_size, how.workers)
    rest = images_beside(network, how, options.recalibrate)
    meter = Meter(subject, held, rest, how, options.measure == "map")
    journal.note(img_size=list(network.img_size))
    _note_base(journal, meter)
    _note_predictions(journal, meter, cutter.graph, asked)
    if options.measure != "fast":
        _note_points(journal, meter, asked)
    return _collected(options, journal, asked, held.images)


def _require_same(journal: Journal, **hashes: str) -> None:
    """Note what the run is about; raise UserError where it has become another network."""
    known = journal.content.get("network")
    if known is None:
        journal.note(network=hashes)
    elif known != hashes:
        raise UserError(
            f"--resume {journal.folder}: the cfg or the weights are no longer those that the run "
            "began with; start a new one"
        )


def _cutter(options: SensitivityOptions, network: Network, state: State, how: Scoring) -> Cutter:
    graph = channel_graph(network.rules)
    rule = options.strategy.channels
    assert rule is not None  # the options see to it
    scores = channel_scores(graph, network, state, options.ranking, how)
    excluded = dict(excluded_layers(graph, options.exclude, options.only))
    return make_cutter(graph, comparable(scores, options.ranking), rule, excluded)


def _note_base(journal: Journal, meter: Meter) -> None:
    if "base" in journal.content:
        return
    started = time.perf_counter()
    base = meter.base()
    seconds = time.perf_counter() - started
    if base.map50 is not None:
        require_finds(base.map50)
    journal.note(base=asdict(base), base_seconds=seconds)


def _note_predictions(
    journal: Journal, meter: Meter, graph: ChannelGraph, asked: Sequence[_Asked]
) -> None:
    if "predicted" in journal.content:
        return
    started = time.perf_counter()
    effects = meter.effects(graph)
    found = {each.key: predicted_change(effects, each.gone) for each in asked}
    journal.note(predicted=found, fast_seconds=time.perf_counter() - started)


def _note_points(journal: Journal, meter: Meter, asked: Sequence[_Asked]) -> None:
    """Every point that is not noted yet, the groups by their first layer, as a meter wants them."""
    journal.content.setdefault("points", {})
    done: dict[str, Any] = journal.content["points"]
    left = {each.key: each for each in asked if len(each.gone) and each.key not in done}
    bar = progress_bar(list(left.values()), "sensitivity", "point")
    for each in bar:
        started = time.perf_counter()
        scores = meter.cut(each.plan, each.group.layers[0])
        done[each.key] = {**asdict(scores), "seconds": time.perf_counter() - started}
        journal.save()
        bar.set_postfix({"layers": each.group.name, "gone": len(each.gone)}, refresh=False)


def _collected(
    options: SensitivityOptions, journal: Journal, asked: Sequence[_Asked], images: int
) -> Sensitivity:
    content = journal.content
    base = Scores(**content["base"])
    curves: dict[tuple[int, ...], list[Point]] = {}
    channels: dict[tuple[int, ...], int] = {}
    for each in asked:
        scores = base
        if options.measure == "fast":
            scores = Scores()
        elif len(each.gone):
            noted = content["points"][each.key]
            scores = Scores(*(noted[name] for name in ("loss", "map50", "map")))
        predicted = content["predicted"][each.key]
        drop = _drop(options.measure, base, scores, predicted)
        point = Point(each.share, len(each.gone), drop, scores, predicted)
        curves.setdefault(each.group.layers, []).append(point)
        channels[each.group.layers] = len(each.group.classes)
    ranking, where, network = options.ranking, options.development, content["network"]
    return Sensitivity(
        network["cfg"],
        network["weights"],
        options.measure,
        base,
        Ranked(options.script, ranking.importance, ranking.normalization),
        Images(images, where.share, where.seed),
        (content["img_size"][0], content["img_size"][1]),
        options.recalibrate or 0,
        tuple(Curve(layers, channels[layers], tuple(points)) for layers, points in curves.items()),
    )


def _drop(measure: Measure, base: Scores, scores: Scores, predicted: float) -> float:
    """What a point costs, in the words of `record.DROPS`."""
    if measure == "map":
        return (base.map50 or 0.0) - (scores.map50 or 0.0)
    growth = predicted if measure == "fast" else (scores.loss or 0.0) - (base.loss or 0.0)
    return growth / (base.loss or math.nan)
