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
from .latency import LatencyTable, MakePass, measure_table

_RUNS = 20


@dataclass(frozen=True)
class LatencyCheck:
    """Before, by the table, and measured after; milliseconds of one image.

    The table speaks of the fastest tenth of the runs (p10).
    """

    runtime: Runtime
    goal_ms: float
    before: Latency
    table_ms: float
    after: Latency

    def __str__(self) -> str:
        """One line for the terminal."""
        before, after = self.before, self.after
        return (
            f"Latency ({self.runtime}): goal {self.goal_ms:g} ms, "
            f"{self.table_ms:.3f} by the table, {after.p10_ms:.3f} measured "
            f"(median {after.median_ms:.3f}); before it was {before.p10_ms:.3f} "
            f"(median {before.median_ms:.3f})"
        )


@dataclass(frozen=True)
class LatencyGoal:
    """A latency to meet: the table to plan by, and how to measure what comes out."""

    ms: float
    runtime: Runtime
    table: LatencyTable
    make: MakePass
    img_hw: tuple[int, int]

    def check(self, plan: PrunePlan, cfg: Cfg, state: State) -> LatencyCheck:
        """Run the pruned network in the runtime."""
        run = self.make(cfg, self.img_hw, state)
        table_ms = self.table.sum_ms(plan.keep, plan.stand_in)
        after = time_forward_ms(run, runs=_RUNS)
        return LatencyCheck(self.runtime, self.ms, self.table.whole, table_ms, after)


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
