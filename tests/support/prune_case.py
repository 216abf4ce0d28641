"""A network, a plan to prune it, and the comparison that does without the gate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models import Darknet
from tests.support.nets import State, healthy_state, image, loaded, reparsed
from utils.cfg import Cfg
from utils.network.graph import channel_graph
from utils.pruning.command.flags import prune_flags
from utils.pruning.command.run import run_pruning
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.importance.kernels import random_scores
from utils.pruning.plan import PrunePlan, make_plan
from utils.pruning.proof.gate import Proof, prove
from utils.pruning.report.result import Pruned
from utils.pruning.strategy import ChannelRule, Strategy
from utils.pruning.surgery import prune
from utils.pruning.sweeps.curve import Sweep

RULES = {
    "slim": ChannelRule("max", "ratio", keep_threshold=False),
    "keep": ChannelRule("keep"),
    "first": ChannelRule("first"),
}


class Case:
    """A network, a state under which it lives, and a plan for it."""

    def __init__(
        self,
        cfg: Cfg,
        rule: str = "slim",
        ratio: float = 0.5,
        seed: int = 0,
        state: State | None = None,
    ) -> None:
        self.cfg = cfg
        self.model = Darknet(cfg)
        self.state = healthy_state(self.model, seed) if state is None else state
        self.graph = channel_graph(self.model.rules)
        self.scores = batch_norm_scale(self.graph, self.state)
        self.plan = make_plan(self.graph, self.scores, RULES[rule], ratio)

    def replan(self, rule: str, ratio: float, seed: int) -> None:
        """Another plan for the same network, by random scores of the layers that have some."""
        found = random_scores(self.graph, seed)
        self.scores = {layer: found[layer] for layer in batch_norm_scale(self.graph, self.state)}
        self.plan = make_plan(self.graph, self.scores, RULES[rule], ratio)

    def pruned(self, plan: PrunePlan | None = None) -> tuple[Cfg, State]:
        """The cfg as it will be written, and the state."""
        cfg, state = prune(self.cfg, self.state, plan or self.plan)
        return reparsed(cfg), state

    def prove(self) -> Proof:
        return prove(self.state, self.plan, *self.pruned())

    def masked(self) -> State:
        """The full state with gamma 0, or without one the kernel, at every channel that goes."""
        masked = {key: tensor.double() for key, tensor in self.state.items()}
        for index in self.graph.issued:
            names = (f"layers.{index}.bn.weight", f"layers.{index}.conv.weight")
            key = next((name for name in names if name in masked), "")
            if key:
                tensor = masked[key]
                mask = self.plan.kept(index).view(-1, *(1,) * (tensor.dim() - 1))
                masked[key] = tensor * mask
        return masked

    def exact(self) -> tuple[Cfg, State]:
        """The cut of the state in float64."""
        wide = {key: tensor.double() for key, tensor in self.state.items()}
        cfg, state = prune(self.cfg, wide, self.plan)
        return reparsed(cfg), state


@torch.no_grad()
def last_values(model: Darknet, x: Tensor) -> list[Tensor]:
    """What the heads read, or the last value of a network without any."""
    return model.raw_heads(x) or [model(x)]


def difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    pairs = zip(ours, theirs, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def compared(case: Case, padding: str = "circular") -> float:
    """Pruned against masked, both run whole and in float64, by `Darknet` and not by the gate."""
    full = loaded(case.cfg, case.masked(), padding)
    small = loaded(*case.exact(), padding)
    x = image(full).double()
    return difference(last_values(small, x), last_values(full, x))


def prune_by_flags(strategy: Strategy, argv: Sequence[str]) -> Pruned | Sweep:
    """What a pruning script does with these flags."""
    return run_pruning(prune_flags(strategy, None, argv), Darknet)
