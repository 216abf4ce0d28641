"""From a script's strategy and flags to a plan."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from ..cfg import Cfg
from ..graph import ChannelGraph, channel_graph
from ..weights import State
from .budget import Budget, solve
from .compat import kept_by_the_known_suite
from .figures import Model
from .importance import Scores, batch_norm_scale
from .plan import (
    Limits,
    PrunePlan,
    drop_blocks,
    highest_safe_ratio,
    keep_everything,
    make_plan,
)
from .selection import excluded_layers
from .strategy import Strategy
from .tables import block_table


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

    def plan(self, ratio: float) -> PrunePlan:
        """The plan at a ratio: channels first, then blocks. Raises UserError."""
        plan = keep_everything(self.graph)
        if self.strategy.channels is not None:
            plan = make_plan(
                self.graph, self.scores, self.strategy.channels, ratio, self.layer_keep, self.limits
            )
        return drop_blocks(plan, self.scores, self.shortcuts) if self.strategy.blocks else plan

    def within(self, budget: Budget) -> tuple[float, PrunePlan]:
        """The ratio that a budget needs, and its plan. Raises UserError."""
        return solve(self.cfg, budget, self.plan)


def make_chooser(
    strategy: Strategy, model: Model, state: State, args: argparse.Namespace
) -> Chooser:
    """Graph, scores and limits as the flags say. Raises UserError."""
    graph = channel_graph(model.rules)
    return Chooser(
        strategy,
        model.cfg,
        graph,
        batch_norm_scale(graph, state),
        _limits(strategy, graph, args),
        args.layer_keep,
        args.shortcuts,
    )


def _limits(strategy: Strategy, graph: ChannelGraph, args: argparse.Namespace) -> Limits:
    if strategy.channels is None:
        return Limits()
    excluded = dict(excluded_layers(graph, args.exclude, args.only))
    if args.compat:
        keep_summed = strategy.channels.tied == "keep"
        excluded |= kept_by_the_known_suite(graph.layers, keep_summed)
    return Limits(excluded, args.max_ratio, args.round_to)


def decide(chooser: Chooser, args: argparse.Namespace) -> PrunePlan:
    """The plan that the flags ask for; says what it found."""
    if args.budget is not None:
        found, plan = chooser.within(args.budget)
        print(f"Ratio of channels for {args.budget}: {found:.4f}")
    else:
        found, plan = args.ratio, chooser.plan(args.ratio)
    if chooser.strategy.channels is not None:
        safe = highest_safe_ratio(chooser.scores, plan.candidates)
        print(f"Threshold on the score: {plan.threshold:.6f}")
        print(f"Highest ratio at which no layer would lose all its channels: {safe:.4f}")
        if found > safe:
            print("  above it, such layers keep their best channels")
    if chooser.strategy.blocks:
        print(block_table(plan, chooser.scores))
    return plan
