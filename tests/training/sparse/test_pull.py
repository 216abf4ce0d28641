"""The L1 subgradient on gammas: where it goes, how strong, how often."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models import Darknet
from slim_prune import STRATEGY as SLIM
from utils.cfg import parse_cfg
from utils.pruning.targets import sparsity_targets
from utils.training.optimization.optimizer import make_optimizer, set_rates
from utils.training.optimization.schedule import Schedule
from utils.training.sparse.options import SparsityDecay, SparsitySchedule, SparsityUpdate
from utils.training.sparse.pull import Sparsity, auto_strength

S = 0.01


def gammas(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float32))


def test_adds_s_times_the_sign_on_the_chosen_channels() -> None:
    gamma = gammas(0.5, -0.5, 0.0, 2.0)
    gamma.grad = torch.ones(4)
    mask = torch.tensor([True, True, True, False])
    Sparsity([(gamma, mask)], S).add_grad_()
    torch.testing.assert_close(gamma.grad, torch.tensor([1 + S, 1 - S, 1.0, 1.0]))


def test_positions_do_as_well_as_a_mask() -> None:
    gamma = gammas(1, 1, 1)
    Sparsity([(gamma, torch.tensor([2, 0]))], S).add_grad_()
    assert gamma.grad is not None
    torch.testing.assert_close(gamma.grad, torch.tensor([S, 0, S]))


def test_a_mask_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="mask of shape"):
        Sparsity([(gammas(1, 2), torch.tensor([True]))], S)


def test_frozen_gammas_are_left_alone() -> None:
    gamma = gammas(1.0).requires_grad_(False)
    Sparsity([(gamma, torch.tensor([True]))], S).add_grad_()
    assert gamma.grad is None


def test_factor_scales_it() -> None:
    gamma = gammas(1.0)
    Sparsity([(gamma, torch.tensor([True]))], S, SparsityDecay("linear")).add_grad_(1.0)
    assert gamma.grad is not None
    assert gamma.grad.item() == pytest.approx(S / 10)


def test_prox_moves_by_lr_times_s_and_stops_at_zero() -> None:
    gamma, spared = gammas(0.5, -0.5, 0.0005, 0.0), gammas(0.5)
    pairs = [(gamma, torch.ones(4).bool()), (spared, torch.tensor([False]))]
    sparsity = Sparsity(pairs, S, update="prox")
    sparsity.add_grad_()
    assert gamma.grad is None  # it is no gradient
    sparsity.shrink_(lr=0.1)
    torch.testing.assert_close(gamma.data, torch.tensor([0.499, -0.499, 0.0, 0.0]))
    assert spared.item() == 0.5


def test_the_other_update_does_not_shrink() -> None:
    gamma = gammas(0.5)
    Sparsity([(gamma, torch.tensor([True]))], S).shrink_(lr=0.1)
    assert gamma.item() == 0.5


@pytest.mark.parametrize("kind", ["constant", "linear", "local-decay"])
@pytest.mark.parametrize("update", ["subgradient", "prox"])
def test_auto_strength_lets_go_half_way(kind: SparsitySchedule, update: SparsityUpdate) -> None:
    """A gamma that nothing opposes is gone after half of the steps, and not much before."""
    gamma = gammas(0.8, 0.8, 0.8, 5.0)  # the last one is what local-decay spares
    schedule = Schedule(400, warmup_steps=20)
    optimizer = torch.optim.SGD([gamma], lr=0.01, momentum=schedule.momentum)
    decay = SparsityDecay(kind, at=0.0, keep_percent=0.75)
    sparsity = Sparsity([(gamma, torch.ones(4).bool())], 0.0, decay, update)
    sparsity.s = auto_strength(sparsity, schedule, lr0=0.01)
    track = []
    for step in range(400):
        lr = set_rates(optimizer, schedule, 0.01, step)
        gamma.grad = torch.zeros(4)
        sparsity.add_grad_(step / 400)
        optimizer.step()
        sparsity.shrink_(lr, step / 400)
        track.append(float(gamma.detach()[0]))
    assert 150 < next(i for i, value in enumerate(track) if value < 1e-2) < 230


def test_unopposed_gammas_fall_by_lr_times_s_per_step() -> None:
    gamma, other = gammas(1.0), gammas(1.0)
    optimizer = torch.optim.SGD([gamma, other], lr=0.1)
    sparsity = Sparsity([(gamma, torch.tensor([True])), (other, torch.tensor([False]))], S)
    for _ in range(50):
        sparsity.add_grad_()
        optimizer.step()
        optimizer.zero_grad()
    assert gamma.item() == pytest.approx(1 - 50 * 0.1 * S, rel=1e-4)
    assert other.item() == 1


def test_statistics() -> None:
    pair = (gammas(0.001, -0.5, 9.0), torch.tensor([True, True, False]))
    stats = Sparsity([pair, (gammas(-0.003), torch.tensor([True]))], S).stats()
    assert stats.count == 3
    assert stats.near_zero == pytest.approx(2 / 3)
    assert stats.median == pytest.approx(0.003)
    assert stats.mean == pytest.approx(0.504 / 3)
    assert Sparsity([], S).stats().count == 0


TEXT = """
[net]
width=16
height=16
channels=3
[convolutional]
batch_normalize=1
filters=4
size=3
pad=1
activation=leaky
[convolutional]
filters=6
size=1
activation=linear
[yolo]
mask=0
anchors=4,4
classes=1
num=1
"""


def sparsity_update(accumulate: int, scale: float) -> Tensor:
    """How much the sparsity term alone moves the gammas in one step on the same 4 images."""
    torch.manual_seed(0)
    images = torch.rand(4, 3, 16, 16)
    moved = []
    for s in (0.0, S):
        torch.manual_seed(1)
        model = Darknet(parse_cfg(TEXT)).eval()  # BN statistics do not depend on the batch
        optimizer = make_optimizer(model, "sgd", 0.1, 0.9, 0.0)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=scale != 1)
        sparsity = Sparsity(sparsity_targets(model, SLIM), s)
        for part in images.chunk(accumulate):
            loss = model.raw_heads(part)[0].square().mean() / accumulate
            scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        sparsity.add_grad_()
        scaler.step(optimizer)
        moved.append(torch.cat([gamma.detach() for gamma, _ in sparsity_targets(model, SLIM)]))
    return moved[1] - moved[0]


def test_strength_depends_neither_on_accumulation_nor_on_the_scaler() -> None:
    wanted = sparsity_update(accumulate=1, scale=1)
    assert (wanted < 0).all()
    for accumulate, scale in ((2, 1), (4, 1), (1, 1024.0), (4, 1024.0)):
        torch.testing.assert_close(sparsity_update(accumulate, scale), wanted, rtol=1e-4, atol=1e-6)


def test_targets_are_what_the_script_may_remove() -> None:
    model = Darknet(parse_cfg(TEXT))
    ((gamma, mask),) = sparsity_targets(model, SLIM)
    assert gamma is model.layers[0].bn.weight
    assert mask.all()


@pytest.mark.parametrize(
    ("kind", "done", "factors"),
    [
        ("constant", 0.9, (1.0, 1.0)),
        ("linear", 0.5, (0.55, 0.55)),
        ("linear", 1.0, (0.1, 0.1)),
        ("global-decay", 0.5, (1.0, 1.0)),
        ("global-decay", 0.51, (0.01, 0.01)),
        ("local-decay", 0.5, (1.0, 1.0)),
        ("local-decay", 0.51, (1.0, 0.01)),
    ],
)
def test_the_pull_decays(kind: SparsitySchedule, done: float, factors: tuple[float, float]) -> None:
    assert SparsityDecay(kind).factors(done) == pytest.approx(factors)


def test_local_decay_spares_the_largest_gammas() -> None:
    gamma = nn.Parameter(torch.tensor([0.1, -0.9, 0.5, 0.2]))
    decay = SparsityDecay("local-decay", at=0.5, factor=0.01, keep_percent=0.75)
    Sparsity([(gamma, torch.ones(4, dtype=torch.bool))], S, decay).add_grad_(0.6)
    assert gamma.grad is not None
    expected = torch.tensor([S, -0.01 * S, S, S])  # the threshold is the fourth of four
    torch.testing.assert_close(gamma.grad, expected)
