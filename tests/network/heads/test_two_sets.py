"""Two sets of heads: which layers are whose, what answers, what learns from what, what is cut."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import Darknet
from tests.support.nets import conv, healthy_state, net
from tests.support.prune_case import Case, compared
from tests.support.two_sets import HEIGHT_WIDTH, two_sets
from utils.cfg import Cfg, CfgError, format_cfg, parse_cfg
from utils.describe.layers import totals
from utils.network.cost import file_bytes
from utils.network.layers import build_layers
from utils.network.two_sets import detached_sources, has_two_sets, one_set, own_layers
from utils.network.weights import state_at
from utils.pruning.proof.gate import GateError, prove
from utils.runtimes import choose

SHARED = set(range(5))


def loaded(cfg: Cfg, seed: int = 0) -> Darknet:
    model = Darknet(cfg)
    model.load_state(healthy_state(model, seed))
    return model.eval()


def image(batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, *HEIGHT_WIDTH, generator=torch.Generator().manual_seed(0))


def test_whose_layers_are_whose() -> None:
    rules = build_layers(two_sets())
    assert own_layers(rules, answering=False) == set(range(5, 19))
    assert own_layers(rules, answering=True) == set(range(19, 33))
    assert detached_sources(rules) == {19: {3}, 22: {3}, 26: {4}, 29: {4}}
    alone = build_layers(two_sets(sets=("one",)))
    assert not has_two_sets(alone) and detached_sources(alone) == {}


@pytest.mark.parametrize(("answering", "sets"), [(True, ("one",)), (False, ("many",))])
@torch.no_grad()
def test_one_set_is_the_network_that_has_it_alone(answering: bool, sets: tuple[str, ...]) -> None:
    both = loaded(two_sets())
    cfg, places = one_set(both.cfg, answering)
    assert [s.kind for s in cfg.layers] == [s.kind for s in two_sets(sets=sets).layers]
    single = Darknet(parse_cfg(format_cfg(cfg)), weights=state_at(both.state_dict(), places)).eval()
    own = [r for h, r in zip(both.heads, both.raw_heads(image()), strict=True)
           if h.answers is answering]  # fmt: skip
    for mine, wanted in zip(single.raw_heads(image()), own, strict=True):
        assert torch.equal(mine, wanted)
    assert all(head.answers for head in single.heads)
    assert one_set(single.cfg)[0] is single.cfg


@torch.no_grad()
def test_those_that_answer_are_decoded_and_the_others_can_go() -> None:
    model = loaded(two_sets())
    boxes = model(image())
    assert boxes.shape[1] == 12 * 16 + 6 * 8
    before = copy.deepcopy(model.state_dict())
    smaller = copy.deepcopy(model).fuse().answering_()
    assert len(smaller.rules) == 19 and len(model.rules) == 33
    assert torch.allclose(smaller(image()), boxes, atol=1e-4)
    assert torch.equal(model.answering_()(image()), boxes)
    assert len(model.state_dict()) < len(before)
    assert model.answering_() is model


def reached(training: bool, answering: bool) -> set[int]:
    """The layers that one set's answers send a gradient to."""
    model = loaded(two_sets()).train(training)
    raw = model.raw_heads(image(2))
    own = [r for h, r in zip(model.heads, raw, strict=True) if h.answers is answering]
    sum(r.square().sum() for r in own).backward()  # type: ignore[union-attr]
    return {i for i, layer in enumerate(model.layers)
            if any(p.grad is not None for p in layer.parameters())}  # fmt: skip


def test_in_training_those_that_answer_leave_the_features_alone() -> None:
    convs = {0, 1, 2, 4}
    assert reached(training=True, answering=True) & SHARED == set()
    assert reached(training=True, answering=False) & SHARED == convs
    # Scores of channels are of what answers, too.
    assert reached(training=False, answering=True) & SHARED == convs


@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), ratio=st.sampled_from((0.2, 0.5, 0.8)))
def test_pruned_equals_masked_with_both_sets(seed: int, ratio: float) -> None:
    case = Case(two_sets())
    case.replan("slim", ratio, seed)
    proof = case.prove()
    assert max(proof.masked, proof.folded) < 1e-9
    assert compared(case) < 1e-9
    # Leaving out a set after the cut gives what the cut network answers.
    cfg, state = case.exact()
    whole = Darknet(cfg, weights=state).double().eval()
    with torch.no_grad():
        answers = whole(image().double())
        assert torch.equal(whole.answering_()(image().double()), answers)
    gone = {i for i in case.graph.issued if not case.plan.kept(i).all()}
    assert ratio < 0.5 or (gone & set(range(5, 19)) and gone & set(range(19, 33)))


def test_a_branch_that_is_cut_wrongly_shows() -> None:
    """In either set: the gate compares all heads, not only those that answer."""
    case = Case(two_sets())
    case.replan("slim", 0.5, 3)
    cfg, state = case.pruned()
    for layer in (6, 20):
        key = f"layers.{layer}.conv.weight"
        wrong = {**state, key: state[key].flip(0)}
        assert len(state[key]) > 1
        with pytest.raises(GateError):
            prove(case.state, case.plan, cfg, wrong)
    assert prove(case.state, case.plan, cfg, state).masked < 1e-9


def test_commands_say_so_and_files_of_runtimes_hold_what_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "two sets of heads" in totals(build_layers(two_sets()))
    assert "two sets" not in totals(build_layers(two_sets(sets=("one",))))
    model = loaded(two_sets())
    monkeypatch.setattr(choose, "require", lambda *_: None)
    monkeypatch.setattr(choose, "open_file", lambda kind, path, network, threads: network)
    opened = choose.open_backend("onnx", model, "my.onnx", torch.device("cpu"))
    assert opened is model and len(model.heads) == 2
    whole = loaded(two_sets())
    whole.save_weights(tmp_path / "my.weights")
    again = choose.with_weights(Darknet(two_sets()), tmp_path / "my.weights")
    assert [head.answers for head in again.heads] == [True, True]
    with choose.darknet_weights(Darknet(two_sets()), tmp_path / "my.weights") as path:
        assert path.stat().st_size == file_bytes(whole.rules)  # as long as the cfg that it is for


def test_what_is_refused() -> None:
    text = format_cfg(two_sets())
    silent = text.replace(', "answers": false', "").replace("true}", 'true, "answers": false}')
    with pytest.raises(CfgError, match="must come after"):
        Darknet(parse_cfg(silent))
    with pytest.raises(CfgError, match="answers to be true or false"):
        build_layers(parse_cfg(text.replace('"answers": false', '"answers": 0', 1)))
    assert not has_two_sets(build_layers(net(conv(8))))
