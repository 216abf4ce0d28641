"""From a script's strategy and flags to a plan."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ...cfg import Cfg
from ...network.darknet import Network
from ...network.graph import ChannelGraph, channel_graph
from ...network.module_form import with_form
from ...network.named_layers import excluded_layers
from ...network.weights import State
from ..blocks import ResidualBlock
from ..candidates import find_candidates, prunable_channels
from ..foldable import removable_blocks
from ..goals.budget import cost_of, solve
from ..goals.greedy import RemovalOrder, meet_latency, removal_order
from ..goals.latency import LatencyTable
from ..goals.latency_goal import LatencyGoal
from ..goals.layer_costs import LayerCosts, by_shape, by_time
from ..importance.scores import Scores
from ..importance.sparseness import concerns, measure_sparseness, summary
from ..options import Budget, LayerRules, PruneOptions
from ..plan import Limits, PrunePlan, drop_blocks, highest_safe_ratio, keep_everything, make_plan
from ..sensitivity.caps import read_caps
from ..strategy import Strategy
from ..widths.obey import plan_by_widths
from .alike import places
from .compat import kept_by_the_known_suite
from .form_cost import form_cost
from .scoring import channel_scores, comparable
from .tables import block_table

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chooser:
    """Everything a plan depends on but the ratio of channels."""

    strategy: Strategy
    cfg: Cfg
    graph: ChannelGraph
    scores: Scores
    limits: Limits
    layer_keep: float
    shortcuts: int
    blocks: tuple[ResidualBlock, ...] = ()  # those that can go
    other_shortcuts: Mapping[int, str] = field(default_factory=dict)  # why these cannot
    importance: str = "|gamma|"  # what a score means
    block_scores: Scores = field(default_factory=dict)  # those that rank blocks: not normalised
    costs: LayerCosts | None = None  # what importance is divided by
    at_most: bool = False  # budgets are limits
    settled: PrunePlan | None = None  # of channels, by a file of widths: whatever the ratio
    form: str = ""  # the modules that the result must fit
    free: ChannelGraph | None = None  # the graph of a result that need not

    def plan(self, ratio: float) -> PrunePlan:
        """The plan at a ratio: channels first, then blocks. Raises UserError."""
        plan = keep_everything(self.graph)
        if self.settled is not None:
            plan = self.settled
        elif self.costs is not None:
            plan = self.order.first(ratio)
        elif self.strategy.channels is not None:
            plan = make_plan(
                self.graph, self.scores, self.strategy.channels, ratio, self.layer_keep, self.limits
            )
        if not self.strategy.blocks:
            return plan
        ranked_by = self.block_scores
        return drop_blocks(plan, ranked_by, self.shortcuts, self.blocks, self.other_shortcuts)

    @cached_property
    def order(self) -> RemovalOrder:
        """In which order channels go by importance over `costs`."""
        assert self.costs is not None
        return self._order(keep_everything(self.graph), self.costs)

    def timed(self, table: LatencyTable) -> Chooser:
        """With importance over the milliseconds of a table, unless over another cost."""
        return self if self.costs is not None else replace(self, costs=by_time(table))

    def in_time(self, goal: LatencyGoal, budgets: Sequence[Budget]) -> PrunePlan:
        """The plan that meets a latency: blocks first, then channels. Raises UserError."""
        start = keep_everything(self.graph)
        if self.strategy.blocks:
            ranked_by = self.block_scores
            start = drop_blocks(start, ranked_by, self.shortcuts, self.blocks, self.other_shortcuts)
        assert self.costs is not None
        order = self._order(start, self.costs)
        wholes = {b: cost_of(self.cfg, keep_everything(self.graph), b.measure) for b in budgets}

        def holds(plan: PrunePlan) -> bool:
            return all(cost_of(self.cfg, plan, b.measure) <= b.share * wholes[b] for b in budgets)

        return meet_latency(order, goal.table, goal.ms, holds, self.at_most)

    def _order(self, start: PrunePlan, costs: LayerCosts) -> RemovalOrder:
        assert self.strategy.channels is not None  # the flags are theirs
        rule = self.strategy.channels
        return removal_order(start, self.scores, rule, costs, self.layer_keep, self.limits)

    def within(self, budgets: Sequence[Budget]) -> tuple[float, PrunePlan]:
        """The least ratio that all budgets allow, and its plan. Raises UserError."""
        found = [solve(self.cfg, budget, self.plan, self.at_most) for budget in budgets]
        return max(found, key=lambda pair: pair[0])


def make_chooser(options: PruneOptions, network: Network, state: State) -> Chooser:
    """Graph, scores and limits as the options say. Raises UserError."""
    strategy, ranking = options.strategy, options.ranking
    free = channel_graph(network.rules)
    graph = with_form(free) if options.rules.form else free
    blocks, others = removable_blocks(graph, state) if strategy.blocks else ((), {})
    scores = channel_scores(graph, network, state, ranking, options.scoring)
    limits = _limits(strategy, graph, options.rules)
    if options.sensitivity is not None:
        floors, others_stay = read_caps(options.sensitivity, graph, network.cfg, state, ranking)
        limits = replace(limits, excluded={**others_stay, **limits.excluded}, floors=floors)
    usable = comparable(scores, ranking)
    if strategy.channels is not None and ranking.among != "global":
        candidates = find_candidates(graph, strategy.channels, limits.excluded, scores)
        usable = places(graph, usable, candidates, ranking.among)
    settled = None
    if options.widths and strategy.channels is not None:
        rule, file = strategy.channels, options.widths
        settled = plan_by_widths(file, network.cfg, graph, usable, rule, limits, ranking)
    return Chooser(
        strategy,
        network.cfg,
        graph,
        usable,
        limits,
        options.floor,
        options.chosen_shortcuts,
        blocks,
        others,
        ranking.meaning,
        scores,
        by_shape(graph, ranking.per) if ranking.per in ("params", "macs") else None,
        options.at_most,
        settled,
        options.rules.form,
        free,
    )


def _limits(strategy: Strategy, graph: ChannelGraph, rules: LayerRules) -> Limits:
    if strategy.channels is None:
        return Limits()
    excluded = dict(excluded_layers(graph, rules.exclude, rules.only))
    if rules.compat:
        keep_summed = strategy.channels.tied == "keep"
        excluded |= kept_by_the_known_suite(graph.layers, keep_summed)
    return Limits(excluded, rules.max_ratio, rules.round_to)


def tell_sparseness(chooser: Chooser, state: State, ratio: float | None) -> None:
    """Say how sparse the channels are that may go, and warn when that is too little for `ratio`."""
    prunable = prunable_channels(chooser.graph, chooser.strategy, chooser.limits.excluded)
    found = measure_sparseness(chooser.graph, state, prunable)
    if not found.channels:
        return
    print(summary(found))
    for concern in concerns(found, ratio):
        logger.warning(concern)


def decide(
    chooser: Chooser, ratio: float, budgets: Sequence[Budget], goal: LatencyGoal | None = None
) -> PrunePlan:
    """The plan at a ratio, within budgets, or that meets a latency; says what it found."""
    plan = _at_a_ratio(chooser, ratio, budgets) if goal is None else chooser.in_time(goal, budgets)
    if plan.cost_of_form:
        print(plan.cost_of_form)
    if chooser.strategy.blocks:
        table = block_table(
            plan,
            chooser.block_scores,
            chooser.blocks,
            chooser.other_shortcuts,
            chooser.importance,
        )
        print(table)
    return plan


def _at_a_ratio(chooser: Chooser, ratio: float, budgets: Sequence[Budget]) -> PrunePlan:
    """The plan at a ratio: the one given, or that which the budgets need."""
    found, plan = chooser.within(budgets) if budgets else (ratio, chooser.plan(ratio))
    if chooser.form and chooser.free is not None and chooser.settled is None:
        unbound = replace(chooser, graph=chooser.free).plan(found)
        plan = replace(plan, cost_of_form=form_cost(chooser.cfg, chooser.form, plan, unbound))
    what = f"To meet {' and '.join(map(str, budgets))}" if budgets else "Asked for"
    if chooser.settled is not None:
        return plan  # what it is was told as the file was read
    if chooser.costs is not None:
        print(f"{what}: the first {found:.1%} of the channels that may go, in the order of the "
              f"least {chooser.importance}")  # fmt: skip
    elif chooser.strategy.channels is not None:
        print(
            f"{what}: the lowest {found:.1%} of the channels that may go; of them those stay that "
            "are tied to better ones, or that their layer needs"
        )
        safe = highest_safe_ratio(chooser.scores, plan.candidates)
        print(f"Threshold on {chooser.importance}: {plan.threshold:.6f}; what lies below it goes")
        kept = ", so such layers keep their best channels" if found > safe else ""
        print(f"Up to {safe:.1%} no layer would lose all its channels{kept}")
    return plan
