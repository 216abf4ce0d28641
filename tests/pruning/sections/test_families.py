"""Pruned equals masked in every block of the newer families, by random plans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import slim_prune
from models import Darknet
from tests.support.checkpoints.blocks import BLOCKS, translated
from utils.cfg import Cfg
from utils.network.graph import channel_graph
from utils.network.weights import State
from utils.pruning.plan import Limits, PrunePlan, make_plan
from utils.pruning.proof.gate import GateError, prove
from utils.pruning.surgery import prune


def drawn_plan(cfg: Cfg, state: State, seed: int, ratio: float) -> PrunePlan:
    """By scores that are drawn, of all channels that may go."""
    graph = channel_graph(Darknet(cfg, weights=state).rules)
    random = np.random.default_rng(seed)
    scores = {
        index: random.random(len(ids))
        for index, ids in graph.issued.items()
        if graph.layers[index].normalized
    }
    return make_plan(graph, scores, slim_prune.STRATEGY.channels, ratio, 0.1, Limits())


@pytest.mark.parametrize("name", BLOCKS)
@settings(
    max_examples=2, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(seed=st.integers(0, 999), ratio=st.floats(0.1, 0.9))
def test_pruned_equals_masked(name: str, tmp_path: Path, seed: int, ratio: float) -> None:
    _, cfg, state = translated(name, tmp_path)
    plan = drawn_plan(cfg, state, seed, ratio)
    assert not plan.keep.all()
    proof = prove(state, plan, *prune(cfg, state, plan))
    assert max(proof.masked, proof.folded) < 1e-9


@pytest.mark.parametrize("name", BLOCKS)
def test_a_number_that_is_off_is_found(name: str, tmp_path: Path) -> None:
    """The control: a thousandth of the largest, in the first kernel that was cut."""
    _, cfg, state = translated(name, tmp_path)
    plan = drawn_plan(cfg, state, 1, 0.5)
    small, numbers = prune(cfg, state, plan)
    cut = (key for key in numbers if numbers[key].shape != state[key].shape)
    key = next(key for key in cut if key.endswith("conv.weight"))
    wrong = numbers[key].clone()
    wrong.view(-1)[0] += 1e-3 * float(wrong.abs().max())
    with pytest.raises(GateError):
        prove(state, plan, small, {**numbers, key: wrong})
