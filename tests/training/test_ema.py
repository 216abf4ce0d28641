"""The moving average of the weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from utils.training.optimization.ema import DECAY, decay_at, make_ema


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))


def test_decay_ramps_up_to_its_limit() -> None:
    decays = [decay_at(n) for n in range(0, 200_000, 100)]
    assert decays == sorted(decays)
    assert decay_at(0) == 0.1
    assert decay_at(80) == 0.9
    assert decays[-1] == DECAY


def test_average_of_parameters_and_bn_statistics() -> None:
    model = net()
    ema = make_ema(model)
    ema.update_parameters(model)  # the first update copies
    wanted = copy.deepcopy(model.state_dict())
    for number in range(1, 4):
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.add_(1)
        ema.update_parameters(model)
        decay = decay_at(number)
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                wanted[name] = decay * wanted[name] + (1 - decay) * value
    for name, value in ema.module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, wanted[name])
    # Negative control: it is neither the first nor the last state.
    assert not torch.allclose(ema.module[0].weight, model[0].weight)
    assert not torch.allclose(ema.module[1].running_mean, model[1].running_mean)


def test_model_is_not_touched() -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    ema = make_ema(model)
    for _ in range(3):
        ema.update_parameters(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_constant_model_is_its_own_average() -> None:
    model = net()
    ema = make_ema(model)
    for _ in range(20):
        ema.update_parameters(model)
    for name, value in ema.module.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name])


def test_average_stays_float32_under_autocast() -> None:
    model = net()
    ema = make_ema(model)
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.rand(2, 1, 4, 4)).sum()
        ema.update_parameters(model)
    assert all(p.dtype == torch.float32 for p in ema.module.parameters())


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_limit_can_be_chosen(decay: float) -> None:
    assert decay_at(10**6, decay) == decay
