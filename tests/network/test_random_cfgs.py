"""Pruning any cfg that the dialect can say: the pruned network is the masked one."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.nets import image, loaded
from tests.support.random_cfgs import RULES, STEPS, Sketch, cfgs, planned
from utils.cfg import Cfg, parse_cfg, plain_text
from utils.network.weights import load_darknet_weights, save_darknet_weights
from utils.pruning.proof.gate import GateError, prove
from utils.pruning.strategy import ChannelRule
from utils.pruning.surgery import prune

SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@SETTINGS
@given(cfgs(), st.integers(0, 99), st.sampled_from(RULES), st.sampled_from((0.2, 0.5, 0.8)))
def test_pruned_equals_masked(cfg: Cfg, seed: int, rule: ChannelRule, ratio: float) -> None:
    state, plan = planned(cfg, seed, rule, ratio)
    cut, small = prune(cfg, state, plan)
    cut = parse_cfg(plain_text(cut))
    proof = prove(state, plan, cut, small)
    assert max(proof.masked, proof.folded) <= 1e-9
    model = loaded(cut, small)
    assert all(torch.isfinite(y).all() for y in model.layer_outputs(image(model).double()))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.weights"
        save_darknet_weights(path, model.rules, small)
        back, _ = load_darknet_weights(path, model.rules)
    assert set(back) == set(small)
    assert all(torch.equal(back[key], small[key]) for key in small)


@SETTINGS
@given(cfgs(), st.integers(0, 99))
def test_a_wrong_number_fails(cfg: Cfg, seed: int) -> None:
    state, plan = planned(cfg, seed, RULES[0], 0.5)
    cut, small = prune(cfg, state, plan)
    key = next(key for key in reversed(small) if key.endswith("conv.weight"))
    broken = {**small, key: small[key] * 1.01}
    with pytest.raises(GateError, match="not the tensor"):
        prove(state, plan, parse_cfg(plain_text(cut)), broken)


@pytest.mark.parametrize("step", sorted(set(STEPS), key=lambda s: s.__name__))
def test_every_step_is_reached(step: object) -> None:
    """The strategy's parts do add sections: none of them is a dead letter."""
    reached = []

    @settings(max_examples=30, deadline=None, derandomize=True)
    @given(st.data())
    def attempt(data: st.DataObject) -> None:
        sketch = Sketch()
        sketch.add("[convolutional]\nbatch_normalize=1\nfilters=4\nsize=3\npad=1\n\n")
        sketch.add("[convolutional]\nbatch_normalize=1\nfilters=4\nsize=3\npad=1\nstride=2\n\n")
        sketch.add("[convolutional]\nbatch_normalize=1\nfilters=4\nsize=3\npad=1\n\n")
        step(data.draw, sketch)  # type: ignore[operator]
        reached.append(len(sketch.sections) > 3)

    attempt()
    assert any(reached)
