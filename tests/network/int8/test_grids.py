"""What 8 bits can say, and the gradients through the rounding."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.support.nets import SMALL_DETECTOR, conv, healthy, image, net, section
from utils.network.int8.convert import measure_ranges, put_on_grids, ranges_of, take_off_grids
from utils.network.int8.grids import (
    KERNEL_LEVELS,
    LEVELS,
    Grid,
    kernel_scales,
    rounded_kernel,
    scale_and_zero,
)
from utils.network.int8.points import points_of
from utils.network.layers import INPUT

NUMBERS = st.floats(-50, 50, width=32)


def grid(low: float, high: float) -> Grid:
    made = Grid().eval()
    made.low.fill_(low)
    made.high.fill_(high)
    return made


@given(NUMBERS, NUMBERS, st.lists(NUMBERS, min_size=1, max_size=20))
def test_a_value_moves_by_half_a_step_at_most_and_is_cut_at_the_ends(
    one: float, other: float, numbers: list[float]
) -> None:
    low, high = min(one, other, 0.0), max(one, other, 0.0)
    x = torch.tensor(numbers)
    found = grid(low, high)(x)
    step = max((high - low) / LEVELS, 1e-12)
    assert bool(((found - x.clamp(low, high)).abs() <= 0.502 * step + 1e-6 * 50).all())
    assert float(grid(low, high)(torch.zeros(1))) == 0.0


def test_gradients_pass_straight_through_but_for_what_is_cut() -> None:
    x = torch.tensor([-3.0, -0.4, 0.013, 0.7, 2.0], requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    (grid(-0.5, 1.0)(x) * weights).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 0.0]


def test_a_kernel_has_a_step_for_each_output_and_lets_gradients_through() -> None:
    kernel = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    kernel = (kernel * torch.tensor([1e-3, 1.0, 10.0, 100.0, 0.0]).view(-1, 1, 1, 1)).detach()
    kernel.requires_grad_()
    found = rounded_kernel(kernel)
    scales = kernel_scales(kernel)
    steps = (found / scales.view(-1, 1, 1, 1)).detach()
    assert bool((steps - steps.round()).abs().max() < 1e-3)
    assert steps.abs().amax((1, 2, 3)).round().tolist() == [KERNEL_LEVELS] * 4 + [0]
    assert bool(((found - kernel).abs().amax((1, 2, 3)) <= 0.502 * scales).all())
    found.sum().backward()
    assert kernel.grad is not None and bool((kernel.grad == 1).all())


def test_two_products_of_a_value_and_a_kernels_number_fit_in_16_bits() -> None:
    """What AVX2 adds up in one instruction; with 127 levels it would not fit."""
    assert 2 * LEVELS * KERNEL_LEVELS < 2**15 <= 2 * LEVELS * 127


def test_a_range_of_nothing_gives_zeros() -> None:
    scale, zero = scale_and_zero(torch.tensor(0.0), torch.tensor(0.0))
    assert float(scale) > 0 and int(zero) == 0
    assert grid(0.0, 0.0)(torch.tensor([1.0, -1.0])).abs().max() < 1e-6


def test_where_the_grids_are() -> None:
    """A residual, a pooling and an upsampling that hand on numbers, a head and what it reads."""
    cfg = net(
        conv(8, stride=2, activation="relu"), conv(8), section("shortcut", frm=-2),
        section("maxpool", size=2, stride=2), section("upsample", stride=2),
        section("route", layers="-1,0"), *SMALL_DETECTOR[3:],
    )  # fmt: skip
    points = points_of(healthy(cfg).rules)
    assert points.own == (INPUT, 0, 1, 2, 5, 6)
    assert points.lent == {3: 2, 4: 2}
    assert points.sums == (1, 6)  # what a ReLU cuts off has no grid of its own
    assert points.source(7) is None  # what the head reads


def rounded(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    model = healthy(net(*SMALL_DETECTOR), seed)
    images = image(model)
    with torch.no_grad():
        as_it_was = model.raw_heads(images)[0]
        put_on_grids(model)
        measure_ranges(model, [images])
        in_int8 = model.raw_heads(images)[0]
        take_off_grids(model)
        return as_it_was, in_int8, model.raw_heads(images)[0]


def test_a_network_in_int8_is_near_the_one_in_float_and_comes_back() -> None:
    as_it_was, in_int8, again = rounded()
    assert torch.equal(as_it_was, again)
    error = (in_int8 - as_it_was).abs().mean() / as_it_was.abs().mean()
    assert 1e-4 < float(error) < 0.1


def test_ranges_that_are_too_small_show() -> None:
    """Negative control."""
    model = healthy(net(*SMALL_DETECTOR))
    images = image(model)
    with torch.no_grad():
        expected = model.raw_heads(images)[0]
        put_on_grids(model)
        measure_ranges(model, [images])
        small = {name: (low / 8, high / 8) for name, (low, high) in ranges_of(model).items()}
        put_on_grids(model, small)
        found = model.raw_heads(images)[0]
    assert float((found - expected).abs().mean() / expected.abs().mean()) > 0.3


def test_training_measures_on_and_evaluation_does_not() -> None:
    model = healthy(net(*SMALL_DETECTOR))
    put_on_grids(model)
    measure_ranges(model, [image(model)])
    before = ranges_of(model)
    model.eval()(image(model, seed=1) * 3)
    assert ranges_of(model) == before
    model.train()(image(model, seed=1) * 3)
    after = ranges_of(model)
    assert before["image"][1] < after["image"][1] < 3
    assert not any("int8" in key or "grid" in key for key in model.state_dict())
