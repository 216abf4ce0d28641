"""All that a trial needs, made once: the network, its groups, the budgets, and the images held."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...command.errors import UserError
from ...command.machine.device import pick_device
from ...data.darknet_files import load_data_file, load_list
from ...detection.as_the_cfg_says import chosen_nms
from ...detection.development import write_development
from ...detection.evaluate import DEFAULTS, collect, measure
from ...detection.options import Scoring
from ...detection.results import Metrics
from ...detection.score import scoring_images
from ...network.batch_norm.statistics import recalibrate_
from ...network.darknet import Build, Network
from ...network.graph import ChannelGraph, Mask, channel_graph
from ...network.named_layers import excluded_layers
from ...pruning.choice.scoring import channel_scores, comparable
from ...pruning.goals.budget import cost, pruned_layers
from ...pruning.goals.layer_costs import FromShape, quick_cost
from ...pruning.options import Budget
from ...pruning.plan import Limits, PrunePlan, keep_everything
from ...pruning.sensitivity.groups import make_cutter
from ...pruning.widths.allot import Allotter
from ..sensitivity.held import Held
from ..sensitivity.subject import Subject, images_beside, open_subject, require_finds
from .options import SearchOptions

DEVELOPMENT = "development"  # the folder of the images' lists, in the run's
Costs = Mapping[str, int]


@dataclass(frozen=True)
class Budgets:
    """Limits on what a plan leaves, by what the whole network has."""

    subject: Subject
    graph: ChannelGraph
    limits: tuple[Budget, ...]

    @cached_property
    def _quick(self) -> dict[FromShape, Callable[[Mask], int]] | None:
        """The costs by the widths alone; None where that will not do."""
        measures: tuple[FromShape, ...] = ("params", "macs", "file")
        found = {each: quick_cost(self.graph, each) for each in measures}
        known = {each: count for each, count in found.items() if count is not None}
        return known if len(known) == len(found) else None

    def costs(self, plan: PrunePlan) -> dict[str, int]:
        """Parameters, MACs and bytes of the file that a plan leaves."""
        if self._quick is not None:
            return {each: count(plan.keep) for each, count in self._quick.items()}
        layers = pruned_layers(self.subject.network.cfg, plan)
        return {
            "params": cost(layers, "params"),
            "macs": cost(layers, "macs"),
            "file": cost(layers, "file"),
        }

    @cached_property
    def whole(self) -> Costs:
        """Those of the network as it is."""
        return self.costs(keep_everything(self.graph))

    def hold(self, plan: PrunePlan) -> bool:
        """Whether a plan keeps within all of them."""
        return not self.broken(plan)

    def broken(self, plan: PrunePlan) -> list[tuple[Budget, float]]:
        """Those that a plan exceeds, with the share that it leaves."""
        costs = self.costs(plan)
        shares = [(each, costs[each.measure] / self.whole[each.measure]) for each in self.limits]
        return [(each, share) for each, share in shares if share > each.share]


class Judge:
    """Scores cut networks on images that it holds."""

    def __init__(self, subject: Subject, held: Held, rest: Sequence[Tensor], how: Scoring) -> None:
        """`rest`: images (B, C, H, W) to measure BN statistics on after a cut."""
        self._subject = subject
        self._held = held
        # Channels last: convolutions on a CPU take two thirds of the time.
        self._rest = [batch.contiguous(memory_format=torch.channels_last) for batch in rest]
        device = pick_device(how.device)
        nms = chosen_nms(how.nms, subject.network.heads[-1].section)
        self._options = replace(DEFAULTS.with_nms(nms), device=device, channels_last=True)

    def base(self) -> Metrics:
        """What the uncut network is worth."""
        return self._score(self._placed(copy.deepcopy(self._subject.network)))

    def cut(self, plan: PrunePlan) -> Metrics:
        """What a plan leaves is worth, its BN statistics measured again."""
        small = self._placed(self._subject.cut(plan))
        recalibrate_(small, self._rest)
        return self._score(small)

    def _placed(self, network: Network) -> Any:
        placed: Any = network.eval().to(self._options.device)
        return placed.to(memory_format=torch.channels_last)

    def _score(self, network: Network) -> Metrics:
        fused = network.fuse()
        return measure(collect(fused, self._held, fused.nc, self._options, False), fused.nc, ())


@dataclass(frozen=True)
class Scene:
    """What search.py works on."""

    options: SearchOptions
    subject: Subject
    held: Held
    how: Scoring
    allotter: Allotter
    budgets: Budgets
    judge: Judge
    base: Metrics
    base_seconds: float

    @property
    def graph(self) -> ChannelGraph:
        """The uncut network's."""
        return self.budgets.graph

    def held_names(self) -> list[str]:
        """The development images, by name: paths differ from machine to machine."""
        return [path.name for _, path in load_list(load_data_file(self.how.data).require("valid"))]


@torch.no_grad()
def open_scene(options: SearchOptions, folder: Path, build: Build) -> Scene:
    """Read and hold everything. Raises UserError, also for budgets that nothing can keep."""
    subject = open_subject(options.inputs, build)
    network = subject.network
    spec = load_data_file(options.scoring.data)
    data = write_development(spec, folder / DEVELOPMENT, options.development)
    how = replace(options.scoring, data=str(data))
    allotter = _allotter(options, subject, how)
    budgets = Budgets(subject, allotter.cutter.graph, options.budgets)
    for budget, least in budgets.broken(allotter.plan([0] * len(allotter.sizes))):
        raise UserError(
            f"--target-{budget.measure} {budget.share:g}: cannot be reached; with one channel of "
            f"each layer, and those that must stay, {least:.4f} is left"
        )
    held = Held(scoring_images(load_data_file(data), network, how), how.batch_size, how.workers)
    judge = Judge(subject, held, images_beside(network, how, options.recalibrate), how)
    started = time.perf_counter()
    base = judge.base()
    seconds = time.perf_counter() - started
    require_finds(base.map50)
    return Scene(options, subject, held, how, allotter, budgets, judge, base, seconds)


def _allotter(options: SearchOptions, subject: Subject, how: Scoring) -> Allotter:
    network, rule = subject.network, options.strategy.channels
    assert rule is not None  # the options see to it
    graph = channel_graph(network.rules)
    with torch.enable_grad():
        scores = channel_scores(graph, network, subject.state, options.ranking, how)
    excluded = dict(excluded_layers(graph, options.exclude, options.only))
    cutter = make_cutter(graph, comparable(scores, options.ranking), rule, excluded)
    return Allotter(cutter, Limits(excluded, round_to=options.round_to))
