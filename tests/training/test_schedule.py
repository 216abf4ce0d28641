"""Learning rate and momentum over a training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from utils.training.optimization.optimizer import make_optimizer, set_rates
from utils.training.optimization.schedule import Schedule


@pytest.mark.parametrize("kind", ["cosine", "step"])
@pytest.mark.parametrize("warmup", [0, 1, 30, 500])
def test_never_above_the_base_rate_and_never_zero(kind: str, warmup: int) -> None:
    schedule = Schedule(steps=100, warmup_steps=warmup, kind=kind)  # type: ignore[arg-type]
    factors = [schedule.lr_factor(step) for step in range(130)]
    assert all(0 < factor <= 1 for factor in factors)


def test_warmup_rises_linearly_to_the_schedule_itself() -> None:
    schedule = Schedule(steps=1000, warmup_steps=10, kind="step")
    assert [schedule.lr_factor(step) for step in range(12)] == pytest.approx(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1]
    )
    with_warmup, without = (Schedule(100, warmup) for warmup in (10, 0))
    assert [with_warmup.lr_factor(s) for s in range(10, 100)] == [
        without.lr_factor(s) for s in range(10, 100)
    ]


def test_cosine_falls_from_one_to_the_final_factor() -> None:
    schedule = Schedule(steps=100, final_factor=0.1)
    factors = [schedule.lr_factor(step) for step in range(101)]
    assert factors[0] == 1
    assert factors[50] == pytest.approx(0.55)
    assert factors[100] == pytest.approx(0.1)
    assert factors == sorted(factors, reverse=True)
    assert schedule.lr_factor(200) == pytest.approx(0.1)  # a resumed, longer run stays there


def test_steps_at_seven_and_nine_tenths() -> None:
    schedule = Schedule(steps=100, kind="step")
    found = [schedule.lr_factor(step) for step in (0, 69, 70, 89, 90, 99)]
    assert found == [1, 1, 0.1, 0.1, 0.01, 0.01]


def test_momentum_warms_up() -> None:
    schedule = Schedule(steps=100, warmup_steps=10, momentum=0.9, warmup_momentum=0.5)
    assert schedule.momentum_at(0) == pytest.approx(0.54)
    assert schedule.momentum_at(9) == schedule.momentum_at(50) == pytest.approx(0.9)
    # A momentum below the warm-up's own start is not raised.
    assert Schedule(100, 10, momentum=0.3).momentum_at(0) == pytest.approx(0.3)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_rates_reach_every_group(kind: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    optimizer = make_optimizer(model, kind, 0.1, 0.9, 1e-3)  # type: ignore[arg-type]
    assert set_rates(optimizer, Schedule(100, 10, momentum=0.9), 0.1, step=4) == pytest.approx(
        0.1 * 0.5 * Schedule(100).lr_factor(4)
    )
    for group in optimizer.param_groups:
        momentum = group["momentum"] if kind == "sgd" else group["betas"][0]
        assert momentum == pytest.approx(0.85)
        assert group["lr"] == pytest.approx(0.05 * Schedule(100).lr_factor(4))


def test_only_kernels_decay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    decay, free = make_optimizer(model, "sgd", 0.1, 0.9, 1e-3).param_groups
    assert (decay["weight_decay"], free["weight_decay"]) == (1e-3, 0)
    assert [p.ndim for p in decay["params"]] == [4]
    assert len(free["params"]) == 3


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    model[0].weight.requires_grad_(False)
    decay, free = make_optimizer(model, "sgd", 0.1, 0.9, 1e-3).param_groups
    assert decay["params"] == []
    assert all(isinstance(p, torch.Tensor) and p.requires_grad for p in free["params"])
