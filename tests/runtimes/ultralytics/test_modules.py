"""Pruned networks in modules like the library's: what they hold, what they cannot."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import slim_prune
from models import Darknet
from tests.support.checkpoints import like_v8 as theirs
from tests.support.checkpoints.blocks import BLOCKS, translated
from tests.support.translated import images
from utils.cfg import Cfg, with_note
from utils.command.errors import UserError
from utils.network.graph import ChannelGraph, channel_graph
from utils.network.module_form import equal_counts, require_form, with_form
from utils.network.weights import State
from utils.pruning.plan import Limits, make_plan
from utils.pruning.surgery import prune
from utils.runtimes.ultralytics.export import told_with_arrays
from utils.runtimes.ultralytics.numbers import by_module
from utils.runtimes.ultralytics.their_side import fill


def cut(graph: ChannelGraph, cfg: Cfg, state: State, seed: int, ratio: float) -> Darknet:
    """Pruned by scores that are drawn."""
    random = np.random.default_rng(seed)
    scores = {
        index: random.random(len(ids))
        for index, ids in graph.issued.items()
        if graph.layers[index].normalized
    }
    plan = make_plan(graph, scores, slim_prune.STRATEGY.channels, ratio, 0.1, Limits())
    small, numbers = prune(cfg, state, plan)
    return Darknet(small, weights=numbers).eval()


@torch.no_grad()
def difference(network: Darknet, like: theirs.DetectionModel, without: str = "") -> float:
    """Of raw heads, when modules like the library's hold the network; as a share of the largest.

    `without`: an attribute that modules are not told.
    """
    job, arrays = told_with_arrays(by_module(network.rules, network.state_dict()))
    for values in job["attributes"].values():
        values.pop(without, None)
    model = copy.deepcopy(like).float()
    fill(model, job, arrays)
    model.eval()
    pairs = zip(network.raw_heads(images()), model.raw(images()), strict=True)
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)


@pytest.mark.parametrize("name", BLOCKS)
@settings(
    max_examples=2, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 999), ratio=st.floats(0.1, 0.9))
def test_what_fits_is_held(name: str, tmp_path: Path, seed: int, ratio: float) -> None:
    like, cfg, state = translated(name, tmp_path)
    network = Darknet(cfg, weights=state)
    small = cut(with_form(channel_graph(network.rules)), cfg, state, seed, ratio)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in network.parameters())
    assert difference(small, like) < 1e-5


def test_other_numbers_are_seen(tmp_path: Path) -> None:
    like, cfg, state = translated("C2f", tmp_path)
    network = Darknet(cfg, weights=state).eval()
    assert difference(network, like) < 1e-5
    moved = {key: tensor + 0.1 * key.endswith("bn.bias") for key, tensor in state.items()}
    wrong = Darknet(cfg, weights=moved).eval()
    job = by_module(network.rules, state)
    model = copy.deepcopy(like)
    fill(model, *told_with_arrays(job))
    model.eval()
    with torch.no_grad():
        pairs = zip(wrong.raw_heads(images()), model.raw(images()), strict=True)
        assert max(float((a - b).abs().max()) for a, b in pairs) > 1e-3


@pytest.mark.parametrize(("name", "unsaid"), [("C2PSA", "key_dim"), ("C2PSA", "head_dim")])
def test_modules_must_be_told(name: str, unsaid: str, tmp_path: Path) -> None:
    like, cfg, state = translated(name, tmp_path)
    network = Darknet(cfg, weights=state)
    small = cut(with_form(channel_graph(network.rules)), cfg, state, 1, 0.8)  # of both kinds some
    assert difference(small, like) < 1e-5
    with pytest.raises(RuntimeError):
        difference(small, like, without=unsaid)


@pytest.mark.parametrize("name", ["C2f", "C2PSA", "A2C2f"])
def test_what_does_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    _, cfg, state = translated(name, tmp_path)
    network = Darknet(cfg, weights=state)
    require_form(network.rules)
    small = cut(channel_graph(network.rules), cfg, state, 0, 0.5)
    with pytest.raises(UserError, match=r"cannot hold it: layers .*--form ultralytics") as caught:
        by_module(small.rules, small.state_dict())
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="cannot hold it"):
        with_form(channel_graph(small.rules))


def test_the_form_gives_back_and_takes_nothing(tmp_path: Path) -> None:
    """Every channel that the free choice keeps is kept with the form as well."""
    _, cfg, state = translated("C2PSA", tmp_path)
    graph = channel_graph(Darknet(cfg, weights=state).rules)
    bound = with_form(graph)
    scores = {
        index: np.random.default_rng(index).random(len(ids))
        for index, ids in graph.issued.items()
        if graph.layers[index].normalized
    }
    rule = slim_prune.STRATEGY.channels
    free, fitting = (make_plan(each, scores, rule, 0.5, 0.1, Limits()) for each in (graph, bound))
    assert (fitting.keep >= free.keep).all() and fitting.keep.sum() > free.keep.sum()
    rules = equal_counts(graph.layers)
    assert {rule.why.split(" of ")[0] for rule in rules} >= {"are halves"}
    assert len(bound.equal_parts) == len(graph.equal_parts) + len(rules)


def test_what_is_not_the_librarys_is_named(tmp_path: Path) -> None:
    _, cfg, state = translated("C2f", tmp_path)
    layers = Darknet(cfg, weights=state).rules
    bare = tuple(copy.copy(layer) for layer in layers)
    bare[0].section = with_note(bare[0].section, "module", "somewhere:nowhere")
    with pytest.raises(UserError, match=r"somewhere"):
        by_module(bare, state)
    for layer in bare:
        layer.section = with_note(layer.section, "other", 1)
    text = "".join(line.text for line in bare[1].section.lines)
    assert '# darkslim module "1.cv1:first"' in text
