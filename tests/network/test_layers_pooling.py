"""`[maxpool]`, `[local_avgpool]`, `[avgpool]`, `[upsample]` against loops over windows."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.nets import noise, outputs, rules, section, shapes

Array = NDArray[np.float64]


def slow_windows(x: Array, size: int, stride: tuple[int, int], padding: int) -> list[list[Array]]:
    """The cells (C, n) of every window that lie inside the image."""
    rows = (x.shape[1] + padding - size) // stride[0] + 1
    columns = (x.shape[2] + padding - size) // stride[1] + 1

    def inside(k: int, step: int, length: int) -> slice:
        start = k * step - padding // 2
        return slice(max(0, start), max(0, min(length, start + size)))

    return [
        [
            x[:, inside(i, stride[0], x.shape[1]), inside(j, stride[1], x.shape[2])].reshape(
                len(x), -1
            )
            for j in range(columns)
        ]
        for i in range(rows)
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 4), st.none() | st.integers(1, 4),
    st.none() | st.integers(0, 7), st.integers(1, 12), st.integers(1, 12), st.integers(0, 9),
)  # fmt: skip
def test_pools(
    size: int, stride: int, stride_x: int | None, padding: int | None, h: int, w: int, seed: int
) -> None:
    total = size - 1 if padding is None else padding
    assume(min(h, w) + total >= size)
    options = {"size": size, "stride": stride, "stride_x": stride_x, "padding": padding}
    x = noise(2, 3, h, w, seed=seed)
    windows = slow_windows(x[1].numpy(), size, (stride, stride_x or stride), total)
    assume(all(cells.size for row in windows for cells in row))
    for kind, reduce in (("maxpool", np.max), ("local_avgpool", np.mean)):
        wanted = np.array([[reduce(cells, 1) for cells in row] for row in windows])
        text = section(kind, **options)
        (layer,), (found,) = rules(text, hw=(h, w)), outputs([text], x)
        assert layer.shape == found.shape[1:] == (3, *wanted.shape[:2])
        assert np.allclose(found[1], wanted.transpose(2, 0, 1), atol=1e-12)


def test_pools_are_placed_as_darknet_places_them() -> None:
    """The known cases: 2/2 and 3/2 round up, 2/1 of the tiny nets keeps the size."""
    assert shapes(section("maxpool", size=2, stride=2), hw=(7, 9)) == [(3, 4, 5)]
    assert shapes(section("maxpool", stride=2), hw=(7, 9)) == [(3, 4, 5)]
    assert shapes(section("maxpool", size=3, stride=2), hw=(7, 9)) == [(3, 4, 5)]
    assert shapes(section("maxpool", size=2, stride=1), hw=(7, 9)) == [(3, 7, 9)]
    assert shapes(section("maxpool", size=13, stride=1), hw=(7, 9)) == [(3, 7, 9)]
    assert shapes(section("maxpool", size=2, stride=2, padding=0), hw=(7, 9)) == [(3, 3, 4)]
    x = torch.arange(6.0).view(1, 1, 1, 6)
    tiny = [section("maxpool", size=2, stride=1)]
    assert outputs(tiny, x)[0].flatten().tolist() == [1, 2, 3, 4, 5, 5]
    three = [section("maxpool", size=3, stride=2)]
    assert outputs(three, x)[0].flatten().tolist() == [1, 3, 5]


def test_maxpool_over_channels() -> None:
    x = noise(2, 5, 4, 4)
    (found,) = outputs([section("maxpool", maxpool_depth=1, out_channels=2)], x)
    assert torch.equal(found[:, 0], x[:, 0::2].amax(1))
    assert torch.equal(found[:, 1], x[:, 1::2].amax(1))


def test_avgpool_and_upsample() -> None:
    x = noise(2, 3, 4, 6)
    texts = [
        section("avgpool"), section("upsample"), section("upsample", stride=3, scale=0.5),
        section("upsample", stride=-2, scale=2),
    ]  # fmt: skip
    mean, twice, half, summed = (outputs([text], x)[0] for text in texts)
    assert torch.allclose(mean, x.mean((2, 3), keepdim=True))
    wanted = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(twice, wanted)
    assert not torch.equal(twice, x.repeat(1, 1, 2, 2))
    assert torch.allclose(half, x.repeat_interleave(3, 2).repeat_interleave(3, 3) / 2)
    blocks = x[:, :, 0::2, 0::2] + x[:, :, 0::2, 1::2] + x[:, :, 1::2, 0::2] + x[:, :, 1::2, 1::2]
    assert torch.allclose(summed, 2 * blocks)
    assert shapes(*texts, hw=(4, 6)) == [(3, 1, 1), (3, 2, 2), (3, 6, 6), (3, 3, 3)]
