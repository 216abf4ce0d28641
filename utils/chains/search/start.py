"""Where a search begins: shares that are good guesses, and the means between them."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence

from ...command.machine.device import pick_device
from ...pruning.choice.alike import places
from ...pruning.choice.chooser import Chooser
from ...pruning.goals.layer_costs import by_shape
from ...pruning.importance.options import ShapeCost
from ...pruning.plan import PrunePlan
from ...pruning.sensitivity.caps import read_matching
from ...pruning.sensitivity.groups import gone
from ...pruning.sensitivity.record import Curve, Point, Scores
from ...training.losses.loss import DetectionLoss
from ..sensitivity.effects import channel_effects, predicted_change
from ..sensitivity.measure import STEADY
from ..sensitivity.options import SHARES
from .scene import Scene

# What the first trials are called, in their order; their means follow, two by two.
EQUAL, PLAIN, BY_COST, SENSITIVITY = "equal shares", "plain ranking", "by cost", "sensitivity"
GUESSES = (EQUAL, PLAIN, BY_COST, SENSITIVITY)
NAMES = (*GUESSES, *(f"{a} + {b}" for a, b in itertools.combinations(GUESSES, 2)))

LEAST = 0.01  # the smallest share that is tried, of the largest
_LAYER_KEEP = 0.01  # what the prune scripts keep of each layer unless told
_STEPS = 60  # of the bisection over drops: these span many orders of magnitude

Shares = tuple[float, ...]


def first_shares(scene: Scene) -> list[Shares]:
    """The shares of `NAMES`, the largest of each being 1. Raises UserError."""
    guesses = [
        (1.0,) * len(scene.allotter.groups),
        _of_plan(scene, ranked(scene, None)),
        _of_plan(scene, ranked(scene, _cost(scene))),
        _allotted(scene, _curves(scene)),
    ]
    means = [
        tuple(math.sqrt(x * y) for x, y in zip(a, b, strict=True))
        for a, b in itertools.combinations(map(_within, guesses), 2)
    ]
    return [_within(each) for each in (*guesses, *means)]


def ranked(scene: Scene, cost: ShapeCost | None) -> PrunePlan:
    """What a prune by the ranking alone, or over a cost, leaves within the budgets."""
    options, allotter = scene.options, scene.allotter
    cutter, among = allotter.cutter, options.ranking.among
    chooser = Chooser(
        options.strategy,
        scene.subject.network.cfg,
        scene.graph,
        places(scene.graph, cutter.scores, cutter.candidates, among),
        allotter.limits,
        _LAYER_KEEP if options.strategy.has_floor else 0.0,
        shortcuts=0,
        costs=None if cost is None else by_shape(scene.graph, cost),
        at_most=True,
    )
    return chooser.within(options.budgets)[1]


def _cost(scene: Scene) -> ShapeCost:
    """What is scarce: MACs where only these are limited."""
    return "macs" if all(b.measure == "macs" for b in scene.options.budgets) else "params"


def _of_plan(scene: Scene, plan: PrunePlan) -> Shares:
    allotter = scene.allotter
    kept = allotter.kept(plan)
    return tuple(count / size for count, size in zip(kept, allotter.sizes, strict=True))


def _within(shares: Shares) -> Shares:
    """The same, scaled and bounded as the search wants them."""
    most = max(shares)
    return tuple(min(1.0, max(LEAST, share / most)) for share in shares)


def _curves(scene: Scene) -> Sequence[Curve]:
    """What cuts of each group cost: of the file, or foretold from gradients."""
    options, allotter = scene.options, scene.allotter
    if options.sensitivity:
        network = scene.subject.network
        found = read_matching(
            options.sensitivity, network.cfg, scene.subject.state, options.ranking
        )
        return found.curves
    device = pick_device(scene.how.device)
    whole = copy.deepcopy(scene.subject.network).eval().to(device)
    inputs, targets = scene.held.inputs(device), scene.held.targets(device)
    loss = DetectionLoss(whole.heads, STEADY)
    effects = channel_effects(scene.graph, whole, inputs, targets, loss)
    curves = []
    for group in allotter.groups:
        points = []
        for share in SHARES:
            lost = gone(allotter.cutter.plan(group, share), group)
            points.append(Point(share, len(lost), predicted_change(effects, lost), Scores()))
        curves.append(Curve(group.layers, len(group.classes), tuple(points)))
    return curves


def _allotted(scene: Scene, curves: Sequence[Curve]) -> Shares:
    """Shares by the smallest drop for which all groups together lose enough.

    Groups without a curve stay whole. Where no drop is enough, those of the largest.
    """
    by_layers = {curve.layers: curve for curve in curves}
    allotter = scene.allotter
    mine = [by_layers.get(group.layers) for group in allotter.groups]

    def counts(drop: float) -> list[int]:
        return [
            size - (0 if curve is None else curve.most_gone(drop))
            for size, curve in zip(allotter.sizes, mine, strict=True)
        ]

    low = 0.0
    high = max((point.drop for curve in curves for point in curve.points), default=0.0)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        enough = scene.budgets.hold(allotter.plan(counts(middle)))
        low, high = (low, middle) if enough else (middle, high)
    kept = counts(max(high, 0.0))
    return tuple(max(1, count) / size for count, size in zip(kept, allotter.sizes, strict=True))
