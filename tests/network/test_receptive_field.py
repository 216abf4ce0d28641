"""Receptive fields: by hand, and against what a NaN in the input spreads to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from models import Darknet
from tests.support.nets import conv, head, healthy, net, random_net, rules, section
from utils.cfg import Cfg, Section
from utils.network.layers import INPUT, Layer, Window, build_layers
from utils.network.layers.pooling import MaxPool
from utils.network.receptive_field import receptive_field_px


def test_chain_by_hand() -> None:
    layers = rules(
        conv(4, 3),  # 3, cells 1 px apart
        conv(4, 3, stride=2),  # 3 + 2 * 1 = 5, 2 px apart
        section("maxpool", size=2, stride=2),  # 5 + 1 * 2 = 7, 4 px apart
        conv(4, 3),  # 7 + 2 * 4 = 15
        conv(4, 1),
        hw=(32, 32),
    )
    fields = [receptive_field_px(layers, layer.index) for layer in layers]
    assert fields == [(3, 3), (5, 5), (7, 7), (15, 15), (15, 15)]


def test_rows_and_columns_differ() -> None:
    layers = rules(conv(4, 3, stride_x=2), conv(4, 5), hw=(32, 32))
    assert receptive_field_px(layers, 1) == (3 + 4 * 1, 3 + 4 * 2)


def test_dilation_counts_the_holes() -> None:
    assert receptive_field_px(rules(conv(4, 3, dilation=3)), 0) == (7, 7)


def test_joined_branches_count_as_their_hull() -> None:
    # An even kernel without padding reaches right only; the other branch reaches both ways.
    right = conv(4, 4, pad=0)
    layers = rules(conv(4, 3), right, section("route", layers=-2), conv(4, 4, pad=0))
    assert receptive_field_px(layers, 1) == (6, 6)
    offset = rules(
        section("crop", crop_height=8, crop_width=8),
        section("crop", crop_height=6, crop_width=6),
        section("route", layers=1),
    )
    assert receptive_field_px(offset, 2) == (1, 1)
    pooled = section("maxpool", size=3, stride=1, padding=4)  # starts two cells to the left
    both = rules(pooled, section("shortcut", frm=-1), conv(3, 3, pad=0), hw=(8, 8))
    assert receptive_field_px(both, 2) == (5, 5)


def test_upsampling_by_more_than_the_kernel_takes_the_widest_cell() -> None:
    # Behind a fourfold upsampling a 3x3 kernel sees one source cell, or two at a seam.
    layers = rules(section("maxpool", size=4, stride=4, padding=0), section("upsample", stride=4))
    deeper = rules(
        section("maxpool", size=4, stride=4, padding=0), section("upsample", stride=4), conv(4, 3)
    )
    assert receptive_field_px(layers, 1) == (4, 4)
    assert receptive_field_px(deeper, 2) == (8, 8)


def test_whole_image() -> None:
    squeeze = (
        section("avgpool"),
        conv(4, 1, activation="logistic"),
        section("scale_channels", frm=0),
    )
    layers = rules(conv(4, 3), *squeeze)
    assert receptive_field_px(layers, 0) == (3, 3)
    assert receptive_field_px(layers, 3) == (math.inf, math.inf)


def test_no_input_no_field() -> None:
    layers = rules(conv(4, 3), section("implicit", filters=4))
    assert receptive_field_px(layers, 1) == (0, 0)


def spread(model: Darknet, axis: int) -> list[Tensor]:
    """Per layer, bool (pixels, cells) along an axis: does a NaN in that line reach that cell?"""
    length = model.img_size[axis]
    # In float64, since oneDNN's Winograd kernels (float32) may spread a NaN over a tile.
    x = torch.rand(length, model.in_channels, *model.img_size, dtype=torch.float64)
    for k in range(length):
        x[k].select(1 + axis, k).fill_(math.nan)
    outputs = model.double().layer_outputs(x)
    return [y.isnan().any(1).any(2 - axis).expand(length, -1) for y in outputs]


def measured_px(reached: Tensor, cell_px: float) -> float:
    """The longest range of pixels that a cell away from the border depends on."""
    pixels, cells = reached.shape
    longest = 0
    for cell in range(cells):
        found = reached[:, cell].nonzero().flatten()
        inside = len(found) and found[0] > 0 and found[-1] < pixels - 1
        if inside or (len(found) and cell_px >= pixels):
            longest = max(longest, int(found[-1] - found[0]) + 1)
    return longest


def require_equal(layers: Sequence[Section], axis: int, length: int = 48, across: int = 16) -> int:
    """Compare every layer of a net along one axis; how many could be compared."""
    height, width = (length, across) if axis == 0 else (across, length)
    text = ("".join(line.text for line in layer.lines) for layer in layers)
    model = healthy(net(*text, width=width, height=height))
    compared = 0
    for layer, reached in zip(model.rules, spread(model, axis), strict=True):
        expected = receptive_field_px(model.rules, layer.index)[axis]
        if expected == math.inf:
            assert reached.all(), layer.index
        elif layer.sources and expected < length // 2:
            cell_px = length / layer.shape[1 + axis]
            assert measured_px(reached, cell_px) == expected, (axis, layer.index, layer.kind)
        else:
            continue
        compared += 1
    return compared


def takes_a_part(layer: Section) -> bool:
    return layer.kind == "route" and layer.has("groups")


NETS = [net.layers for net in map(random_net, range(20)) if not any(map(takes_a_part, net.layers))]


@pytest.mark.parametrize("k", range(8))
def test_equals_what_reaches_the_cell(k: int) -> None:
    assert require_equal(NETS[k], k % 2, length=64, across=32) >= 3


def test_a_part_of_a_concatenation_counts_as_all_of_it() -> None:
    layers = rules(
        conv(4, 3),
        conv(4, 3),
        section("route", layers="0,1"),
        section("route", layers=-1, groups=2, group_id=0),
    )
    assert receptive_field_px(layers, 3) == (5, 5)


SPECIAL = {
    "reorg3d": (conv(4), section("reorg3d", stride=2), conv(4)),
    "reorg reverse": (conv(8), section("reorg", stride=2, reverse=1), conv(4)),
    "local_avgpool": (conv(4), section("local_avgpool", size=3, stride=2), conv(4)),
    "blurred conv": (conv(4, antialiasing=1, stride=2), conv(4)),
    "blurred pool": (conv(4), section("maxpool", size=2, stride=2, antialiasing=2), conv(4)),
    "odd padding": (section("maxpool", size=4, stride=2), section("maxpool", size=2, stride=1)),
    "sum of blocks": (conv(4), section("upsample", stride=-2), conv(4)),
    "upsample 3": (conv(4, stride=2), section("upsample", stride=3), conv(4, 5), conv(4)),
    "over channels": (conv(4), section("maxpool", maxpool_depth=1, out_channels=2, size=2)),
    "shared": (conv(3), conv(3), conv(3, share_index=1, stride=2, dilation=2)),
    "connected": (conv(4, stride=2), section("connected", output=4)),
    "per position": (conv(4), conv(1), section("scale_channels", frm=0, scale_wh=1)),
    "softmax": (conv(4), section("softmax")),
    "strides": (conv(4, stride_x=2), section("maxpool", size=3, stride_x=1, stride_y=2), conv(4)),
    "grouped route": (conv(4), section("route", layers=-1, groups=2, group_id=1), conv(4, 5)),
}  # fmt: skip


@pytest.mark.parametrize("axis", (0, 1))
@pytest.mark.parametrize("name", SPECIAL)
def test_special_layers_equal_what_reaches_the_cell(name: str, axis: int) -> None:
    layers = net(*SPECIAL[name]).layers
    assert require_equal(layers, axis) == len(layers)


@pytest.mark.parametrize(("stride", "length"), [(2, 48), (2, 50), (3, 54), (3, 51)])
def test_historical_reorg(stride: int, length: int) -> None:
    """Its rows differ with what the height divides by."""
    layers = net(conv(stride**2), section("reorg", stride=stride)).layers
    for axis in (0, 1):
        assert require_equal(layers, axis, length, across=2 * stride**2) == 2


def test_reversed_reorg3d_reads_no_more_than_it_says() -> None:
    model = healthy(net(conv(16), section("reorg3d", stride=2, reverse=1), width=16, height=48))
    (inner, outer) = (receptive_field_px(model.rules, index)[0] for index in (0, 1))
    assert inner <= measured_px(spread(model, 0)[1], 0.5) <= outer == inner + 2


def test_comparison_finds_a_wrong_window(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = net(conv(4), section("maxpool", size=3, stride=2), conv(4)).layers
    require_equal(layers, 0)
    monkeypatch.setattr(MaxPool, "window", lambda self, axis, source: Window(2, 0, 1))
    with pytest.raises(AssertionError):
        require_equal(layers, 0)


def test_every_reader_counts() -> None:
    """The fields of a head never shrink when a layer before it gets a larger kernel."""
    small = net(conv(4), conv(4), section("shortcut", frm=-2), head())
    large = net(conv(4), conv(4, 5), section("shortcut", frm=-2), head())

    def field(cfg: Cfg) -> tuple[float, float]:
        layers: tuple[Layer, ...] = build_layers(cfg)
        assert layers[0].sources == (INPUT,)
        return receptive_field_px(layers, len(layers) - 1)

    assert field(small) == (5, 5)
    assert field(large) == (7, 7)
