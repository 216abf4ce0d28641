"""What cfginfo.py says: figures known from elsewhere, ties and reasons of small nets, weights."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

import cfginfo
from models import Darknet, convert
from tests.support.nets import conv, head, healthy, net, rules, section
from utils.cfg import Cfg, load_cfg, save_cfg
from utils.command.errors import UserError
from utils.describe.layers import (
    TiedGroup,
    block_lines,
    group_lines,
    head_table,
    layer_table,
    script_table,
    staying_lines,
    tied_groups,
    totals,
)
from utils.describe.weights import gamma_table, read_weights
from utils.network.cost import count_bflops
from utils.network.graph import ChannelGraph, channel_graph
from utils.network.layers import build_layers

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT.parent / "shared" / "golden" / "cfg"


def graph_of(*sections: str) -> ChannelGraph:
    return channel_graph(rules(*sections, hw=(32, 32)))


# -- figures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected_bflops", "numbers"),
    [
        # The sizes of the published .weights files: 20 bytes and 4 for each number.
        ("yolov3", 65.864, (248_007_048 - 20) // 4),
        ("yolov3-spp", 141.449, (252_209_544 - 20) // 4),
        ("yolov3-tiny", 5.565, (35_434_956 - 20) // 4),
        ("yolov4", 128.389, (257_717_640 - 20) // 4),
        ("yolov4-tiny", 6.908, (24_251_276 - 20) // 4),
    ],
)
def test_known_totals(root: Path, name: str, expected_bflops: float, numbers: int) -> None:
    layers = build_layers(load_cfg(root / "cfg" / f"{name}.cfg"))
    assert round(count_bflops(layers), 3) == expected_bflops
    text = totals(layers)
    assert f"{numbers:,} numbers" in text
    assert f"{expected_bflops} BFLOPs" in text


def test_layer_table_rows() -> None:
    graph = graph_of(conv(8, stride=2), conv(4, 1), section("route", layers="0,1"), head())
    rows = [line.split("|") for line in layer_table(graph).splitlines()]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows if len(row) > 1}
    assert cells["0"] == [
        "convolutional", "8", "3x3/2 leaky", "", "32 x 32 x 3 -> 16 x 16 x 8",
        "232", f"{2 * 8 * 27 * 16 * 16 / 1e9:.3f}", "8",
    ]  # fmt: skip
    assert cells["2"][3:5] == ["0, 1", "16 x 16 x 8 -> 16 x 16 x 12"]
    assert cells["3"][-1] == ""  # what a head reads cannot go
    assert cells["4"][:3] == ["yolo", "14", "2 anchors, 2 classes"]


def test_head_table() -> None:
    layers = rules(conv(8, stride=2), head(), hw=(32, 64))
    line = head_table(layers).splitlines()[-1]
    assert [cell.strip() for cell in line.split("|")] == [
        "2", "yolo", "32 x 16", "2 x 2", "3 x 3 (0.0 x the image)", "6x5 14x12",
    ]  # fmt: skip
    assert "whole image" in head_table(rules(conv(8), section("avgpool")))


# -- channels ---------------------------------------------------------------------------------


def test_tied_groups_and_through_which_layer() -> None:
    graph = graph_of(
        conv(8),
        conv(4, 1),
        conv(8),
        section("shortcut", frm=-3),
        conv(8, groups=8),
        section("avgpool"),
        conv(8, 1, batch_normalize=None),
        section("scale_channels", frm=4),
        conv(6),
    )
    assert tied_groups(graph) == [TiedGroup((0, 2, 4, 6), (3, 4, 7), 8, 8)]
    (line,) = group_lines(graph)
    assert line == "0, 2, 4, 6: 8 channels, through shortcut 3; depthwise 4; scale_channels 7"


def test_groups_come_in_the_order_of_their_layers() -> None:
    """They are found by way of sets, whose own order tells a reader nothing."""
    block = conv(8) + conv(4, 1) + conv(8) + section("shortcut", frm=-3)
    graph = graph_of(block * 8)
    assert [group.layers for group in tied_groups(graph)] == [(4 * k, 4 * k + 2) for k in range(8)]


def test_partly_tied() -> None:
    graph = graph_of(conv(8), conv(4), section("shortcut", frm=0), conv(6))
    assert tied_groups(graph) == [TiedGroup((0, 1), (2,), 8, 4)]
    assert not tied_groups(graph_of(conv(8), conv(4), conv(4), section("route", layers="0,1")))


def test_equal_parts() -> None:
    graph = graph_of(conv(8), conv(8, groups=4), section("route", layers=-1, groups=2, group_id=1))
    assert list(group_lines(graph)) == [
        "0, 1: equal counts in 4 parts, for grouped convolution 1",
        "1: equal counts in 2 parts, for route 2",
    ]


def test_what_stays_and_why() -> None:
    graph = graph_of(
        conv(8),
        conv(8, 1, batch_normalize=None),
        conv(6, activation="normalize_channels"),
        section("avgpool"),
        conv(12),
        section("reorg3d", stride=1, reverse=1),
        head(),
    )
    assert list(staying_lines(graph)) == [
        "no batch normalisation to judge its channels by: 1",
        "normalize_channels at layer 2 mixes the channels: 2",
        "[reorg3d] at layer 5 spreads a channel over others: 4",
        "read by the [yolo] head at layer 7: 6",
    ]


def test_part_of_a_layer_stays() -> None:
    graph = graph_of(
        conv(20), conv(14, 1), section("shortcut", frm=0), section("yolo", classes=2, num=2)
    )
    assert list(staying_lines(graph)) == ["read by the [yolo] head at layer 3: 0 (14 of 20), 1"]


def test_residual_blocks() -> None:
    graph = graph_of(
        conv(8), conv(8), section("shortcut", frm=-2), conv(8), conv(4), section("shortcut", frm=-3)
    )
    assert list(block_lines(graph)) == [
        "may go, with shortcut 2",
        "stays, shortcut 5: it is not a plain sum with one earlier layer of the same channels",
    ]


def test_a_block_whose_constant_cannot_be_folded_stays() -> None:
    graph = graph_of(
        conv(8), conv(8), section("shortcut", frm=-2),
        conv(8, 1, activation="logistic"), section("sam", frm=2), head(),
    )  # fmt: skip
    (line,) = block_lines(graph)
    assert line.startswith("stays, shortcut 2: a constant on a kept channel meets a product")
    table = script_table(graph, cfginfo.STRATEGIES).splitlines()
    assert [row.split("|")[-1].strip() for row in table if "layer_prune" in row] == ["0"]


def test_scripts_differ() -> None:
    graph = graph_of(conv(8), conv(4), conv(8), section("shortcut", frm=0), head())
    rows = [line.split("|") for line in script_table(graph, cfginfo.STRATEGIES).splitlines()]
    counts = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows[2:]}
    assert counts["prune.py"][0] == "4"
    assert counts["shortcut_prune.py"][0] == "12"
    assert counts["slim_prune.py"][0] == counts["layer_channel_prune.py"][0] == "20"
    assert counts["layer_prune.py"] == ["-", "-", "-", "1"]


# -- weights ----------------------------------------------------------------------------------

SMALL = net(conv(8), conv(4), section("maxpool", size=2, stride=2), conv(8), head())


@pytest.fixture
def model() -> Darknet:
    return healthy(SMALL)


def test_weights_that_fit(model: Darknet, tmp_path: Path) -> None:
    model.seen = 6400
    model.save_weights(tmp_path / "a.weights")
    state, line = read_weights(tmp_path / "a.weights", model.rules)
    count = sum(field.size for layer in model.rules for field in layer.fields())
    assert line == f"fits: {count:,} numbers, version 0.2.5, 6,400 images seen"
    assert torch.equal(state["layers.0.bn.weight"], model.state_dict()["layers.0.bn.weight"])


def test_checkpoint_that_fits(model: Darknet, tmp_path: Path) -> None:
    save_cfg(SMALL, tmp_path / "a.cfg")
    model.save_weights(tmp_path / "a.weights")
    converted = convert(tmp_path / "a.cfg", tmp_path / "a.weights")
    _, line = read_weights(converted, model.rules)
    assert line == f"fits: {len(model.state_dict())} tensors"
    with pytest.raises(UserError, match=r"tensors differ, the first layers\.0\.bn"):
        read_weights(converted, build_layers(net(conv(7), head())))


@pytest.mark.parametrize(("cut_behind", "cutoff"), [(0, 1), (1, 2), (3, 4)])
def test_backbone(model: Darknet, tmp_path: Path, cut_behind: int, cutoff: int) -> None:
    model.save_weights(tmp_path / "a.weights")
    numbers = sum(f.size for layer in model.rules[: cut_behind + 1] for f in layer.fields())
    cut = tmp_path / "a.conv"
    cut.write_bytes((tmp_path / "a.weights").read_bytes()[: 20 + 4 * numbers])
    says = rf"{numbers:,} of .* ends where layer {cut_behind} does.*--cutoff {cutoff}\)"
    with pytest.raises(UserError, match=says):
        read_weights(cut, model.rules)
    state, line = read_weights(cut, model.rules, cutoff)
    assert line.startswith(f"fits: {numbers:,} numbers")
    assert {int(key.split(".")[1]) for key in state} == {
        layer.index for layer in model.rules[:cutoff] if layer.fields()
    }
    cut.write_bytes((tmp_path / "a.weights").read_bytes()[: 20 + 4 * numbers - 2])
    with pytest.raises(UserError, match="missing"):
        read_weights(cut, model.rules)


def test_gamma_quantiles(model: Darknet) -> None:
    graph = channel_graph(model.rules)
    state = model.state_dict()
    state["layers.0.bn.weight"] = torch.tensor([0, -0.001, 0.5, -1, 1, 1, 2, -4.0])
    line = next(row for row in gamma_table(graph, state).splitlines() if row.startswith("     0 "))
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[1:3] == ["8", "0.0000"]
    assert cells[5] == f"{np.median([0, 0.001, 0.5, 1, 1, 1, 2, 4]):.4f}"
    assert cells[-2:] == ["4.0000", "25.0%"]


# -- the command ------------------------------------------------------------------------------


def run(cfg: Cfg, folder: Path, *flags: str) -> None:
    save_cfg(cfg, folder / "a.cfg")
    cfginfo.main(["--cfg", str(folder / "a.cfg"), *flags])


def test_command(model: Darknet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.save_weights(tmp_path / "a.weights")
    flags = ("--weights", str(tmp_path / "a.weights"), "--graph", str(tmp_path / "a.svg"))
    run(SMALL, tmp_path, *flags, "--img-size", "64", "32")
    out = capsys.readouterr().out
    assert "32 x 64 x 3 -> 32 x 64 x 8" in out
    for part in ("receptive field", "must stay", "slim_prune.py", "fits: ", "median"):
        assert part in out
    assert (tmp_path / "a.svg").stat().st_size > 1000


def test_command_refuses_weights_of_another_cfg(
    model: Darknet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_weights(tmp_path / "a.weights")
    with pytest.raises(UserError, match="weights of another cfg"):
        run(net(conv(16), head()), tmp_path, "--weights", str(tmp_path / "a.weights"))
    assert "must stay" in capsys.readouterr().out  # the cfg's own report comes first


def test_command_refuses_to_draw_over_a_cfg(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.svg"):
        run(SMALL, tmp_path, "--graph", str(tmp_path / "a.cfg"))
    assert (tmp_path / "a.cfg").read_text().startswith("[net]")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.cfg")), ids=lambda path: path.stem)
def test_golden_cfgs(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Each is described and drawn, or refused in one line."""
    caplog.set_level(logging.ERROR)
    try:
        cfginfo.main(["--cfg", str(path), "--graph", str(tmp_path / "a.svg")])
    except UserError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)
        return
    out = capsys.readouterr().out
    assert "BFLOPs" in out
    assert "must stay" in out
