"""From a wish (a share of the parameters, MACs, channels) to the ratio that grants it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from ...cfg import Cfg, drop_layers, replace_layers
from ...command.errors import UserError
from ...network.cost import count_macs, count_parameters, file_bytes
from ...network.layers import Layer, build_layers
from ..options import Budget, Measure
from ..plan import PrunePlan, keep_everything

_STEPS = 24  # of the bisection: 2^-24 is less than one channel of any network
_ACCURACY = 0.01


def cost_of(cfg: Cfg, plan: PrunePlan, measure: Measure) -> int:
    """Parameters (trainable ones), MACs or channels of the network that a plan leaves."""
    return plan.channels if measure == "channels" else cost(pruned_layers(cfg, plan), measure)


def cost(layers: Sequence[Layer], measure: Literal["params", "macs", "file"]) -> int:
    """Parameters (trainable ones), MACs or bytes of the `.weights` file of a network."""
    return {"params": count_parameters, "macs": count_macs, "file": file_bytes}[measure](layers)


def pruned_layers(cfg: Cfg, plan: PrunePlan) -> tuple[Layer, ...]:
    """The layers of the network that a plan leaves, from the cfg alone."""
    layers = plan.graph.layers
    stand_in = plan.stand_in
    sections = {
        layer.index: plan.section(layer.index) for layer in layers if layer.index not in stand_in
    }
    small, _ = drop_layers(replace_layers(cfg, sections), stand_in)
    return build_layers(small, layers[0].inputs[0][1:])


def solve(
    cfg: Cfg, budget: Budget, plan_at: Callable[[float], PrunePlan], at_most: bool = False
) -> tuple[float, PrunePlan]:
    """The smallest ratio whose plan keeps within the budget, and that plan.

    Where that would leave more than 1% of the whole unused, the next larger network if it exceeds
    the budget by no more than 1%. Raises UserError when neither will do. Of channels, whichever of
    the two is nearer: a small network may have less than 100. With `at_most`, the first, come what
    may.
    """
    whole = cost_of(cfg, keep_everything(plan_at(0.0).graph), budget.measure)

    def share(ratio: float) -> float:
        return cost_of(cfg, plan_at(ratio), budget.measure) / whole

    least = share(1.0)
    if least > budget.share:
        raise UserError(
            f"--target-{budget.measure} {budget.share}: cannot be reached; with these floors and "
            f"ties at least {least:.4f} stays"
        )
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if share(middle) > budget.share else (low, middle)
    if at_most:
        return high, plan_at(high)
    within, above = share(high), share(low)
    if budget.measure == "channels":
        nearer = high if budget.share - within <= above - budget.share else low
        return nearer, plan_at(nearer)
    if budget.share - within <= _ACCURACY:
        return high, plan_at(high)
    if above - budget.share <= _ACCURACY:
        return low, plan_at(low)
    raise UserError(
        f"--target-{budget.measure} {budget.share}: the channels go in groups too large to come "
        f"within {_ACCURACY}; near it are {above:.4f} and {within:.4f} (--at-most takes the latter)"
    )
