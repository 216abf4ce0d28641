"""Importance: hand-computed scores, closed forms, finite differences, and what it lets prune."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models import Darknet
from slim_prune import STRATEGY as SLIM
from tests.support.nets import conv, head, healthy, image, net, reparsed, section
from utils.command.errors import UserError
from utils.network.graph import ChannelGraph, channel_graph
from utils.network.layers.activations import ELEMENTWISE
from utils.pruning.candidates import find_candidates
from utils.pruning.importance.batch_norm import (
    batch_norm_scale,
    expected_activation,
    expected_change,
    mean_magnitude,
)
from utils.pruning.importance.kernels import fpgm, l1, l2, lamp, random_scores
from utils.pruning.importance.kinds import FROM_STATE
from utils.pruning.importance.options import Kind
from utils.pruning.importance.scores import Scores, normalize
from utils.pruning.importance.taylor import taylor
from utils.pruning.plan import make_plan
from utils.pruning.proof.gate import prove
from utils.pruning.surgery import prune

FROM_WEIGHTS: list[Kind] = list(FROM_STATE)


def scores_of(model: Darknet, kind: Kind) -> Scores:
    return FROM_STATE[kind](channel_graph(model.rules), model.state_dict())


def small() -> Darknet:
    """Two convolutions with batch normalisation, one without in between, and a head."""
    bare = conv(6, 1, batch_normalize=None, activation="relu")
    return healthy(net(conv(8, stride=2), bare, conv(5, activation="mish"), head()))


def set_(model: Darknet, key: str, *values: float) -> None:
    tensor = model.state_dict()[key]
    tensor.copy_(torch.tensor(values).reshape(tensor.shape))


# -- batch normalisation ---------------------------------------------------------------------


def test_bn_is_the_absolute_gamma() -> None:
    model = healthy(net(conv(3), head()))
    set_(model, "layers.0.bn.weight", 0.5, -2.0, 0.0)
    assert scores_of(model, "bn")[0].tolist() == [0.5, 2.0, 0.0]
    assert set(scores_of(small(), "bn")) == {0, 2}


def normal_density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def normal_share_below(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def mean_relu(beta: float, gamma: float) -> float:
    """E max(z, 0)."""
    return beta * normal_share_below(beta / gamma) + gamma * normal_density(beta / gamma)


CASES = [(0.0, 1.0), (0.7, 0.3), (-0.7, 0.3), (-3.0, 1.0), (2.0, 0.01), (5.0, 2.0), (0.1, 4.0)]


@pytest.mark.parametrize(("beta", "gamma"), CASES)
def test_bn_act_equals_the_closed_forms(beta: float, gamma: float) -> None:
    positive, negative = mean_relu(beta, gamma), mean_relu(-beta, gamma)
    wanted = {
        "relu": positive,
        "leaky": positive + 0.1 * negative,
        "linear": positive + negative,
        "ramp": 1.1 * positive + 0.1 * negative,
        "relie": positive + 0.01 * negative,
    }
    for name, value in wanted.items():
        found = mean_magnitude(name, np.array([gamma]), np.array([beta]))
        assert found[0] == pytest.approx(value, abs=4e-5 * gamma), name
        turned = mean_magnitude(name, np.array([-gamma]), np.array([beta]))
        assert turned[0] == pytest.approx(found[0], rel=1e-12)


def test_bn_act_tells_activations_apart() -> None:
    one, zero = np.array([1.0]), np.array([0.0])
    found = {name: mean_magnitude(name, one, zero)[0] for name in ("relu", "leaky", "linear")}
    assert found["relu"] < 0.95 * found["leaky"] < 0.8 * found["linear"]


@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_bn_act_equals_a_fine_sum_for_every_activation(name: str) -> None:
    gamma, beta = np.array([0.5, 1.0, 0.02]), np.array([0.3, -2.0, 0.6])
    n = np.linspace(-9, 9, 36_001)
    density = np.exp(-n * n / 2)
    density /= density.sum()
    for folded in (False, True):
        found = mean_magnitude(name, gamma, beta, folded)
        for k in range(len(gamma)):
            value = ELEMENTWISE[name](torch.from_numpy(beta[k] + gamma[k] * n))
            if folded:
                value = value - ELEMENTWISE[name](torch.from_numpy(beta[k : k + 1]))
            wanted = float(value.abs().numpy() @ density)
            # [stair] jumps, and a jump between two nodes is off by up to half a step.
            assert found[k] == pytest.approx(wanted, abs=5e-3 if name == "stair" else 5e-5), k


def test_bn_act_of_a_constant_channel_is_its_activation_and_its_change_is_nothing() -> None:
    model = healthy(net(conv(2, activation="mish"), head()))
    set_(model, "layers.0.bn.weight", 0.0, 1.0)
    set_(model, "layers.0.bn.bias", 3.0, -3.0)
    graph, state = channel_graph(model.rules), model.state_dict()
    constant, other = expected_activation(graph, state)[0]
    three = ELEMENTWISE["mish"](torch.tensor(3.0, dtype=torch.float64))
    assert constant == pytest.approx(three.item())
    assert other < constant
    still, moving = expected_change(graph, state)[0]
    assert still == pytest.approx(0, abs=1e-15)
    assert moving > 0.05


# -- kernels ---------------------------------------------------------------------------------

KERNELS = torch.tensor([[3.0, -4.0], [0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)


def test_norms_by_hand() -> None:
    assert l1(KERNELS).tolist() == [7, 0, 2]
    assert l2(KERNELS).tolist() == pytest.approx([5, 0, math.sqrt(2)])


def test_fpgm_by_hand() -> None:
    line = torch.tensor([[0.0], [3.0], [4.0]], dtype=torch.float64)
    assert fpgm(line).tolist() == [7, 4, 5]
    assert fpgm(line + 10).tolist() == pytest.approx([7, 4, 5])  # norms play no part
    assert fpgm(line[:1]).tolist() == [0]


def test_fpgm_by_a_slow_loop() -> None:
    kernels = torch.randn(40, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = [sum(float((a - b).square().sum().sqrt()) for b in kernels) for a in kernels]
    assert fpgm(kernels).tolist() == pytest.approx(wanted, rel=1e-9)


def test_fpgm_of_a_wide_layer_is_as_good_as_float64() -> None:
    """Of a thousand outputs or more the Gram matrix is float32; offsets must not spoil it."""
    generator = torch.Generator().manual_seed(0)
    kernels = 5 + torch.randn(300, 800, generator=generator, dtype=torch.float64)
    kernels[7] = kernels[8]
    exact = torch.cdist(kernels, kernels, compute_mode="donot_use_mm_for_euclid_dist").sum(1)
    found = fpgm(kernels)
    assert found.tolist() == pytest.approx(exact.tolist(), rel=1e-5)
    assert found.argsort().tolist()[:10] == exact.argsort().tolist()[:10]
    assert found[7] == pytest.approx(float(found[8]), rel=1e-6)


def test_lamp_by_hand() -> None:
    kernels = torch.tensor([[2.0], [-1.0], [4.0], [2.0], [0.0]], dtype=torch.float64)
    # Squares 4, 1, 16, 4, 0 over what is no smaller: 24, 25, 16, 24.
    assert lamp(kernels).tolist() == pytest.approx([4 / 24, 1 / 25, 1, 4 / 24, 0])
    assert lamp(torch.zeros(3, 2, dtype=torch.float64)).tolist() == [0, 0, 0]


def test_kernels_are_those_that_run() -> None:
    """Folding the batch normalisation into the kernels changes no score."""
    model = small()
    kinds: tuple[Kind, ...] = ("l1", "l2", "fpgm", "lamp")
    before = {kind: scores_of(model, kind) for kind in kinds}
    raw = model.state_dict()["layers.0.conv.weight"].double().abs().sum((1, 2, 3))
    model.fuse()
    for kind, scores in before.items():
        after = scores_of(model, kind)
        assert set(scores) == set(after) == {0, 1, 2, 3}
        for index in scores:
            np.testing.assert_allclose(scores[index], after[index], rtol=1e-5, atol=1e-7)
    assert not np.allclose(before["l1"][0], raw, rtol=0.05)


def test_l1_of_a_convolution_without_batch_normalisation() -> None:
    model = healthy(net(conv(2, 1, batch_normalize=None), head(), channels=1))
    set_(model, "layers.0.conv.weight", -0.25, 2.0)
    assert scores_of(model, "l1")[0].tolist() == [0.25, 2.0]


# -- the loss --------------------------------------------------------------------------------


def square_loss(raw: list[Tensor], targets: Tensor, img_hw: tuple[int, int]) -> Tensor:
    assert img_hw == (32, 32)
    return (raw[0] * targets.sum()).square().mean()


def batches(model: Darknet, count: int = 3) -> Iterator[tuple[Tensor, Tensor]]:
    for seed in range(count):
        yield image(model, seed), torch.full((1,), 1.0 + seed)


def test_taylor_equals_finite_differences() -> None:
    model = small().double()
    graph = channel_graph(model.rules)
    doubled = [(x.double(), t.double()) for x, t in batches(model)]
    found = taylor(graph, model, doubled, square_loss)
    assert set(found) == {0, 2}
    step = 1e-6
    for index, scores in found.items():
        gamma = model.state_dict()[f"layers.{index}.bn.weight"]
        for channel, score in enumerate(scores):
            terms = []
            for x, t in doubled:
                ends = []
                for shift in (step, -step):
                    start = gamma[channel].item()
                    gamma[channel] = start + shift
                    with torch.no_grad():
                        ends.append(square_loss(model.raw_heads(x), t, (32, 32)).item())
                    gamma[channel] = start
                terms.append(abs(gamma[channel].item() * (ends[0] - ends[1]) / (2 * step)))
            assert score == pytest.approx(sum(terms) / 3, rel=1e-5)
    # The mean of |.| over the batches is not |.| of the mean: signs may differ between batches.
    assert all((scores > 0).all() for scores in found.values())


def test_taylor_leaves_the_model_as_it_was() -> None:
    model = small().train()
    frozen = model.layers[0].get_parameter("bn.weight").requires_grad_(False)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    found = taylor(channel_graph(model.rules), model, batches(model), square_loss)
    assert found[0].max() > 0
    assert model.training
    assert all(module.training for module in model.layers)
    assert not frozen.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


def test_taylor_without_a_batch_is_refused() -> None:
    model = small()
    with pytest.raises(UserError, match="at least one batch"):
        taylor(channel_graph(model.rules), model, [], square_loss)


# -- all kinds -------------------------------------------------------------------------------


def test_random_scores_follow_their_seed() -> None:
    graph = channel_graph(small().rules)
    a, b, other = (random_scores(graph, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a[index], b[index]) for index in graph.issued)
    assert not np.array_equal(a[0], other[0])
    assert not np.array_equal(a[0][:5], a[2])


def test_normalize_by_layer_and_by_all() -> None:
    scores = {0: np.array([1.0, 3.0]), 4: np.array([10.0, 20.0, 30.0]), 7: np.zeros(2)}
    layer = normalize(scores, "layer")
    assert layer[0].tolist() == [0.5, 1.5]
    assert layer[4].tolist() == [0.5, 1, 1.5]
    assert layer[7].tolist() == [0, 0]
    everything = normalize(scores, "global")
    assert np.concatenate(list(everything.values())).mean() == pytest.approx(1)
    assert everything[4].tolist() == pytest.approx([70 / 64, 140 / 64, 210 / 64])
    assert normalize(scores, "none") is scores
    assert scores[0].tolist() == [1, 3]


SLOW_CFGS = ("yolov3-tiny", "yolov4-tiny-3l")


@pytest.mark.parametrize(
    "name",
    ["demo", "yolov4-tiny", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_CFGS)],
)
def test_scores_of_stock_networks_are_usable(name: str, root: Path) -> None:
    model = Darknet(root / "cfg" / f"{name}.cfg")
    graph, state = channel_graph(model.rules), model.state_dict()
    assert_usable(random_scores(graph, 0), graph)
    for kind in FROM_WEIGHTS:
        scores = scores_of(model, kind)
        assert_usable(scores, graph)
        with_bn = set(batch_norm_scale(graph, state))
        assert set(scores) == (with_bn if kind in ("bn", "bn-act") else set(graph.issued))


def assert_usable(scores: Scores, graph: ChannelGraph) -> None:
    for index, values in scores.items():
        assert values.dtype == np.float64
        assert values.shape == graph.issued[index].shape
        assert np.isfinite(values).all()
        assert (values >= 0).all()


def test_equal_channels_get_equal_scores() -> None:
    model = small()
    for tensor in (t for key, t in model.state_dict().items() if key.startswith("layers.2.")):
        tensor[1] = tensor[3]
    for kind in FROM_WEIGHTS:
        scores = scores_of(model, kind)[2]
        assert scores[1] == pytest.approx(scores[3], rel=1e-6), kind
        assert scores[1] != pytest.approx(scores[0], rel=1e-6), kind


# -- what it is for --------------------------------------------------------------------------


def test_only_kernel_scores_let_convolutions_without_batch_normalisation_go() -> None:
    model = small()
    graph = channel_graph(model.rules)
    assert SLIM.channels is not None
    by_gamma = find_candidates(graph, SLIM.channels)
    assert "no batch normalisation" in by_gamma.reasons[1]
    assert 1 not in by_gamma.prunable
    by_kernel = find_candidates(graph, SLIM.channels, judged=scores_of(model, "l1"))
    assert by_kernel.prunable[1].all()
    assert not by_kernel.prunable[3].any()  # the head reads them
    assert "yolo" in by_kernel.reasons[3]


@pytest.mark.parametrize("kind", [*FROM_WEIGHTS, "random"])
def test_every_kind_prunes_what_it_ranks_lowest_and_passes_the_gate(kind: Kind) -> None:
    model = small()
    graph, state = channel_graph(model.rules), model.state_dict()
    if kind == "random":
        scores = random_scores(graph, 3)
    else:
        scores = normalize(scores_of(model, kind), "layer")
    assert SLIM.channels is not None
    plan = make_plan(graph, scores, SLIM.channels, 0.5)
    cfg, pruned = prune(model.cfg, state, plan)
    prove(state, plan, reparsed(cfg), pruned)
    kept = plan.kept(2).numpy()
    assert 0 < kept.sum() < len(kept)
    assert scores[2][~kept].max() <= scores[2][kept].min()
    assert plan.kept(1).all() == (kind in ("bn", "bn-act"))


def test_a_tied_convolution_without_scores_keeps_its_group() -> None:
    """Where only some of the tied convolutions have scores, the others' channels stay."""
    bare = conv(8, 1, batch_normalize=None)
    model = healthy(net(conv(8), bare, section("shortcut", frm=-2), conv(4), head()))
    graph = channel_graph(model.rules)
    assert SLIM.channels is not None
    assert not find_candidates(graph, SLIM.channels).prunable[0].any()
    scores = scores_of(model, "l2")
    both = find_candidates(graph, SLIM.channels, judged=scores)
    assert both.prunable[0].all()
    assert both.prunable[1].all()
