"""`--ranking`: which channels are ranked against each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import layer_prune
import slim_prune
from models import Darknet
from tests.support.nets import conv, head, healthy, net, section
from tests.support.prune_case import prune_by_flags
from utils.cfg import Cfg, plain_text
from utils.command.errors import UserError
from utils.network.graph import ChannelGraph, channel_graph
from utils.pruning.candidates import Candidates, find_candidates
from utils.pruning.choice.alike import places, pools
from utils.pruning.importance.options import Among
from utils.pruning.importance.scores import Scores
from utils.pruning.plan import make_plan
from utils.pruning.report.result import Pruned
from utils.pruning.strategy import ChannelRule

SLIM = ChannelRule("max", "ratio", keep_threshold=False)


def block(filters: int, /, squeeze: int = 1, activation: str = "leaky") -> str:
    """A residual block whose branch is half as wide."""
    inner = conv(filters // 2, squeeze, activation=activation)
    return inner + conv(filters) + section("shortcut", frm=-3)


def stages(third: str) -> Cfg:
    """A stem; two blocks of 16 channels (branches 1, 4); one of 32 (8) and `third` (11)."""
    return net(conv(16), block(16), block(16), conv(32, stride=2), block(32), third, head())


BRANCHES = (1, 4, 8, 11)


def graph_of(cfg: Cfg) -> ChannelGraph:
    return channel_graph(Darknet(cfg).rules)


def pool_of(graph: ChannelGraph, index: int, among: Among = "isomorphic") -> tuple[int, ...]:
    (found,) = (layers for layers in pools(graph, among) if index in layers)
    return found


def test_groups_of_one_structure_are_a_pool_whatever_their_width() -> None:
    graph = graph_of(stages(block(32)))
    assert pool_of(graph, 1) == BRANCHES
    assert not set(BRANCHES) & set(pool_of(graph, 0))


@pytest.mark.parametrize("other", [block(32, 3), block(32, activation="mish")])
def test_another_kernel_or_activation_is_another_structure(other: str) -> None:
    graph = graph_of(stages(other))
    assert pool_of(graph, 1) == BRANCHES[:3]
    assert pool_of(graph, 11) == (11,)


def test_what_reads_a_group_is_part_of_its_structure() -> None:
    """The last of a chain is read by a head's layer, so it is not like those before it."""
    chain = [conv(8), conv(8), conv(8), conv(8)]
    graph = graph_of(net(*chain, conv(8, 1), head()))
    # The first reads the image as any layer reads another's channels; 4 is a 1x1.
    assert pool_of(graph, 0) == (0, 1, 2)
    assert pool_of(graph, 3) == (3,)


def test_each_layer_is_in_one_pool() -> None:
    graph = graph_of(stages(block(32)))
    for among in ("global", "isomorphic", "layer"):
        named = sorted(index for layers in pools(graph, among) for index in layers)
        assert named == sorted(graph.issued)
    assert len(list(pools(graph, "global"))) == 1
    assert len(list(pools(graph, "layer"))) > len(list(pools(graph, "isomorphic"))) > 1


def candidates_of(graph: ChannelGraph, scores: Scores) -> Candidates:
    return find_candidates(graph, SLIM, None, scores)


def random_scores(graph: ChannelGraph, seed: int, values: int) -> Scores:
    """Whole numbers, so that some are equal; each layer on a scale of its own."""
    draw = np.random.default_rng(seed)
    return {
        index: draw.integers(0, values, len(ids)) * 10.0 ** draw.integers(-3, 4)
        for index, ids in graph.issued.items()
    }


GRAPH = graph_of(stages(block(32)))


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), values=st.sampled_from([2, 5, 1000]))
def test_places_keep_the_order_in_a_pool(seed: int, values: int) -> None:
    scores = random_scores(GRAPH, seed, values)
    candidates = candidates_of(GRAPH, scores)
    for among in ("isomorphic", "layer"):
        found = places(GRAPH, scores, candidates, among)
        for layers in pools(GRAPH, among):
            score = np.concatenate([scores[index] for index in layers])
            place = np.concatenate([found[index] for index in layers])
            free = np.concatenate([candidates.prunable[index] for index in layers])
            order = score[free][:, None] < score[free]
            assert (order == (place[free][:, None] < place[free])).all()
            assert ((place >= 0) & (place <= 1)).all()


@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_each_pool_loses_the_same_share(ratio: float) -> None:
    """Branches score a thousandth of all else: a ranking of all takes them alone."""
    draw = np.random.default_rng(0)
    scores = {
        index: draw.random(len(ids)) * (1e-3 if index in BRANCHES else 1.0)
        for index, ids in GRAPH.issued.items()
    }
    candidates = candidates_of(GRAPH, scores)

    def gone(among: Among) -> tuple[int, int]:
        usable = places(GRAPH, scores, candidates, among)
        plan = make_plan(GRAPH, usable, SLIM, ratio)
        lost = {i: len(ids) - plan.kept_count(i) for i, ids in GRAPH.issued.items()}
        return sum(lost[i] for i in BRANCHES), sum(lost.values())

    whole = sum(len(GRAPH.issued[i]) for i in BRANCHES)
    branches, _ = gone("isomorphic")
    assert branches == pytest.approx(ratio * whole, abs=1)
    branches, others = gone("global")
    assert branches > 0.9 * whole or branches == others  # the control
    assert branches > 1.5 * ratio * whole


def test_what_is_no_number_stays_none() -> None:
    scores = random_scores(GRAPH, 0, 9)
    scores[4][2] = np.nan
    found = places(GRAPH, scores, candidates_of(GRAPH, scores), "isomorphic")
    assert np.isnan(found[4][2]) and np.isfinite(found[4][3])


def pruned(folder: Path, *flags: str) -> Pruned:
    cfg = stages(block(32))
    model = healthy(cfg)
    with torch.no_grad():
        for index in BRANCHES:
            model.layers[index].get_parameter("bn.weight").mul_(1e-3)
    (folder / "my.cfg").write_text(plain_text(cfg))
    model.save_weights(folder / "my.weights")
    words = ["--weights", str(folder / "my.weights"), *flags, "--dry-run"]
    found = prune_by_flags(slim_prune.STRATEGY, words)
    assert isinstance(found, Pruned)
    return found


@pytest.mark.parametrize(
    "flags", [["--global-percent", "0.4"], ["--target-params", "0.6", "--importance", "l2:macs"]]
)
def test_a_prune_by_structure_passes_the_gate(tmp_path: Path, flags: list[str]) -> None:
    alike = pruned(tmp_path, *flags, "--ranking", "isomorphic")
    assert alike.proof.masked < 1e-9
    of_all = pruned(tmp_path, *flags)
    kept = [[each.plan.kept_count(i) for i in BRANCHES] for each in (alike, of_all)]
    assert kept[0] != kept[1]


def test_a_threshold_is_said_to_be_a_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pruned(tmp_path, "--ranking", "isomorphic")
    said = "Threshold on share that scores less (|gamma|) in groups with the same structure: 0."
    assert said in capsys.readouterr().out


def test_scripts_without_channels_have_no_such_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        prune_by_flags(layer_prune.STRATEGY, ["--weights", "x.weights", "--ranking", "layer"])
    assert "--ranking" in capsys.readouterr().err


def test_widths_leave_a_ranking_nothing_to_say(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--ranking isomorphic has nothing left to say"):
        pruned(tmp_path, "--widths", "w.json", "--ranking", "isomorphic")
