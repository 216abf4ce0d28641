"""`--feature-loss pkd`: numpy's correlation, what it leaves free, and whom it teaches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.nets import small_detector
from utils.network.channel_links import Link
from utils.training.distillation.distiller import Distiller
from utils.training.distillation.features import DISTANCES, relative_error, uncorrelated
from utils.training.distillation.links import Linked
from utils.training.distillation.options import DistillOptions


def maps(seed: int) -> Tensor:
    return torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(seed))


def test_it_is_one_less_the_correlation_that_numpy_computes() -> None:
    mine, theirs = maps(0), maps(0) + 0.7 * maps(1)
    pairs = [(a.transpose(0, 1).flatten(1).numpy()) for a in (mine, theirs)]
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(*pairs, strict=True)]
    assert float(uncorrelated(mine, theirs)) == pytest.approx(1 - np.mean(r), rel=1e-4)
    mixed = theirs.flip(0)  # negative control: other images' maps
    assert float(uncorrelated(mine, mixed)) > 2 * float(uncorrelated(mine, theirs))


def test_scale_and_offset_of_a_channel_are_free_and_its_sign_is_not() -> None:
    theirs = maps(0)
    other = theirs * torch.tensor([0.2, 1, 3, 40]).view(1, 4, 1, 1) - 5
    assert float(uncorrelated(other, theirs)) == pytest.approx(0, abs=1e-4)
    assert float(uncorrelated(-theirs, theirs)) == pytest.approx(2, abs=1e-4)
    assert float(relative_error(other, theirs)) > 1  # negative control: mse holds both against it


def test_deviations_are_those_of_a_channel_over_the_batch_not_of_an_image() -> None:
    theirs = torch.stack((maps(0)[0], 10 * maps(1)[0]))
    mine = torch.stack((maps(0)[0], -10 * maps(1)[0]))
    # Per image, one of two would agree: 1. Over both, the loud image decides.
    assert float(uncorrelated(mine, theirs)) > 1.9


def test_dead_channels_have_finite_gradients_and_count_one_half() -> None:
    for dead_student in (True, False):
        mine, theirs = maps(0), maps(1)
        (mine if dead_student else theirs)[:] = 0.25
        mine.requires_grad_()
        loss = uncorrelated(mine, theirs)
        loss.backward()
        assert loss.item() == pytest.approx(0.5, abs=1e-3)
        assert mine.grad is not None
        assert bool(mine.grad.isfinite().all())


def test_it_teaches_the_student_through_its_links_and_leaves_the_teacher() -> None:
    student, teacher = small_detector(1).train(), small_detector().requires_grad_(False)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    linked = Linked((Link(3, 3, tuple(range(6))),))
    options = DistillOptions(kinds=("feature",), feature_loss="pkd")
    distiller = Distiller(teacher, student.heads, options, linked)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    optimizer = torch.optim.Adam(student.parameters(), 1e-2)
    values = []
    for _ in range(30):
        raw, features = student.observe(images, distiller.observed)
        loss = distiller(images, raw, features, torch.zeros(0, 6))["kd"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0]
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())
    assert student.layers[4].conv.weight.grad is None  # behind the features that are compared


def test_every_distance_has_a_name_and_they_are_three() -> None:
    assert list(DISTANCES) == ["cwd", "mse", "pkd"]
    values = {name: float(f(maps(0), maps(1), 3.0)) for name, f in DISTANCES.items()}
    assert len({round(value, 4) for value in values.values()}) == 3
