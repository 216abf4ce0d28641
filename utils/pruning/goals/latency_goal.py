"""A latency to meet: from a network to a table, and from a pruned one to a verdict."""

from __future__ import annotations

from dataclasses import dataclass

from ...cfg import Cfg
from ...command.machine.device import pick_device
from ...command.machine.timing import Latency, time_forward_ms
from ...network.darknet import Build, Network
from ...network.graph import ChannelGraph
from ...network.weights import State
from ...runtimes.options import Pass, Runtime
from ..plan import PrunePlan
from .known_table import read_matching_table
from .latency import LatencyTable, MakePass, measure_table

_RUNS = 20


@dataclass(frozen=True)
class LatencyCheck:
    """Before, by the table, and measured after; milliseconds of one image.

    The table speaks of the fastest tenth of the runs (p10). after: None where the table comes from
    a file, as what it was measured on may be far away.
    """

    runtime: str
    goal_ms: float
    before: Latency
    table_ms: float
    after: Latency | None

    def __str__(self) -> str:
        """One line for the terminal."""
        before, after = self.before, self.after
        measured = (
            "not measured here"
            if after is None
            else f"{after.p10_ms:.3f} measured (median {after.median_ms:.3f})"
        )
        return (
            f"Latency ({self.runtime}): goal {self.goal_ms:g} ms, "
            f"{self.table_ms:.3f} by the table, {measured}; before it was {before.p10_ms:.3f} "
            f"(median {before.median_ms:.3f})"
        )


@dataclass(frozen=True)
class LatencyGoal:
    """A latency to meet: the table to plan by, and how to measure what comes out (None: not)."""

    ms: float
    runtime: str
    table: LatencyTable
    make: MakePass | None
    img_hw: tuple[int, int]

    def check(self, plan: PrunePlan, cfg: Cfg, state: State) -> LatencyCheck:
        """Run the pruned network in the runtime."""
        table_ms = self.table.sum_ms(plan.keep, plan.stand_in)
        after = None
        if self.make is not None:
            after = time_forward_ms(self.make(cfg, self.img_hw, state), runs=_RUNS)
        return LatencyCheck(self.runtime, self.ms, self.table.whole, table_ms, after)


def known_goal(path: str, graph: ChannelGraph, network: Network, ms: float) -> LatencyGoal:
    """A goal by a table that was measured before, here or on another device. Raises UserError."""
    table, found = read_matching_table(path, graph, network.cfg, network.img_size)
    where = f"{found.runtime}, {found.device}" if found.device else found.runtime
    print(
        f"Latency ({where}): {table.whole.p10_ms:.3f} ms by {path}, whose {len(table.layers)} "
        f"layers are scaled by {table.scale:.3f}"
    )
    return LatencyGoal(ms, where, table, None, network.img_size)


def measure_goal(
    build: Build,
    graph: ChannelGraph,
    network: Network,
    state: State,
    ms: float,
    runtime: Runtime,
    device: str,
) -> LatencyGoal:
    """Measure the network and its layers. Raises UserError for what the runtime cannot load."""
    from ...runtimes.passes import make_pass  # runtimes load for those who want a latency

    def make(cfg: Cfg, img_hw: tuple[int, int], state: State | None = None) -> Pass:
        return make_pass(runtime, build, cfg, img_hw, state, pick_device(device))

    whole = make(network.cfg, network.img_size, state)
    table = measure_table(graph, network.cfg, whole, make)
    print(
        f"Latency ({runtime}): {table.whole.p10_ms:.3f} ms; {len(table.layers)} layers of "
        f"{table.shapes} shapes add up to {table.alone_ms:.3f}; the table is scaled by "
        f"{table.scale:.3f}"
    )
    return LatencyGoal(ms, runtime, table, make, network.img_size)
