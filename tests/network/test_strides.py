"""The network's stride is that of its layers, not the input's size divided by a map's."""

from __future__ import annotations

from pathlib import Path

import pytest

import train
from models import Darknet
from tests.support.nets import conv, head, net, section
from utils.cfg import parse_cfg
from utils.cfg.errors import CfgError
from utils.command.errors import UserError
from utils.network.layers import Head, build_layers
from utils.network.layers.heads import require_heads_fit
from utils.network.layers.strides import neighbours, stride_px


def test_stride_is_the_largest_of_any_layer() -> None:
    layers = build_layers(
        net(
            conv(4, stride=2), conv(4, stride=2), section("maxpool", size=2, stride=2),
            section("upsample", stride=4), section("reorg", stride=2), width=64, height=64,
        )
    )  # fmt: skip
    assert stride_px(layers) == 8
    assert stride_px(layers[:1]) == 2


@pytest.mark.parametrize("side", [240, 248, 250, 256, 310, 400])
def test_a_size_that_fits_nowhere_does_not_change_the_stride(root: Path, side: int) -> None:
    """yolov3-tiny at 250 px has 8 cells a row, which are not 31 pixels wide."""
    text = (root / "cfg/yolov3-tiny.cfg").read_text()
    for key in ("width", "height"):
        text = text.replace(f"{key}=416", f"{key}={side}")
    cfg = parse_cfg(text)
    try:
        model = Darknet(cfg)
    except CfgError as error:
        assert side % 32  # two branches do not meet
        assert f"must be multiples of 32, the largest stride: {side // 32 * 32} or" in str(error)
        return
    assert model.stride == 32


def test_train_says_which_sizes_are_near(root: Path, tmp_path: Path) -> None:
    (tmp_path / "a.data").write_text("classes=80\n")
    flags = ["--cfg", str(root / "cfg/yolov3-tiny.cfg"), "--img-size", "250"]
    with pytest.raises(UserError, match=r"250: must be a multiple of 32.*: 224 or 256"):
        train.main([*flags, "--data", str(tmp_path / "a.data")])


@pytest.mark.parametrize(("side", "near"), [(250, [224, 256]), (20, [32]), (64, [64, 96])])
def test_neighbours(side: int, near: list[int]) -> None:
    assert neighbours(side, 32) == near


def test_heads_for_different_classes_are_one_line() -> None:
    cfg = net(conv(4), head(2), section("route", layers=0), head(3))
    with pytest.raises(CfgError, match=r"net.cfg:\d+: \[yolo\] classes: is made for 3") as caught:
        Darknet(cfg)
    assert "for 2: " in str(caught.value) and "make_cfg.py" in str(caught.value)
    heads = [layer for layer in build_layers(cfg) if isinstance(layer, Head)]
    require_heads_fit(heads[:1])
