"""The network as its users meet it: shapes, modes, sizes, fusing, loading, converting."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import models
from models import Darknet, convert
from tests.support.nets import conv, head, healthy, image, net, random_net, section
from utils.cfg import CfgError, format_cfg, load_cfg, parse_cfg, save_cfg
from utils.command.errors import UserError
from utils.network.layers.activations import ELEMENTWISE
from utils.network.layers.modules import ConvolutionModule

# Two heads, strides 8 and 16, on 96 x 64 pixels.
DETECTOR = net(
    conv(4, stride=2), conv(4, stride=2), conv(8, stride=2), head(classes=3, anchors=2),
    section("route", layers=2), conv(8, stride=2), head(classes=3, anchors=1), width=96, height=64,
)  # fmt: skip


def test_training_mode_returns_raw_heads_with_gradients() -> None:
    model = healthy(DETECTOR).train()
    raw = model(image(model))
    assert [tuple(t.shape) for t in raw] == [(2, 16, 8, 12), (2, 8, 4, 6)]
    sum(t.square().mean() for t in raw).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_evaluation_mode_returns_boxes() -> None:
    model = healthy(DETECTOR)
    with torch.no_grad():
        boxes = model(image(model))
        raw = model.raw_heads(image(model))
    assert boxes.shape == (2, 8 * 12 * 2 + 4 * 6, 5 + 3)
    wanted = [h.decode(r, (64, 96)) for h, r in zip(model.heads, raw, strict=True)]
    assert torch.equal(boxes, torch.cat(wanted, 1))
    assert not torch.equal(boxes, torch.cat(wanted[::-1], 1))
    assert model.nc == 3
    assert model.stride == 16
    assert [h.index for h in model.heads] == [4, 8]
    xy, wh, rest = boxes[..., :2], boxes[..., 2:4], boxes[..., 4:]
    assert bool((xy >= 0).all())
    assert bool((xy <= torch.tensor([96, 64])).all())
    assert bool((wh > 0).all())
    assert bool(((rest > 0) & (rest < 1)).all())


def test_boxes_of_a_double_model_are_double() -> None:
    model = healthy(DETECTOR).double()
    x = image(model).double()
    with torch.no_grad():
        boxes, raw = model(x), model.raw_heads(x)
    wanted = torch.cat([h.decode(r, (64, 96)) for h, r in zip(model.heads, raw, strict=True)], 1)
    assert boxes.dtype == torch.float64
    assert torch.equal(boxes, wanted)
    assert not torch.equal(boxes, boxes.float().double())
    half = model.bfloat16()
    with torch.no_grad():
        assert half(x.bfloat16()).dtype == torch.float32


def test_image_sizes() -> None:
    model = healthy(DETECTOR)
    assert model.img_size == (64, 96)
    other = Darknet(DETECTOR, img_size=(32, 160)).eval()
    assert other.img_size == (32, 160)
    assert [h.shape[1:] for h in other.heads] == [(4, 20), (2, 10)]
    other.load_state(model.state_dict())
    x = image(other)
    with torch.no_grad():
        assert torch.allclose(other(x), model(x))
        assert model(torch.rand(1, 3, 16, 16)).shape == (1, 2 * 2 * 2 + 1, 8)
    small, large = (
        sum(rule.macs() for rule in m.rules) for m in (model, Darknet(DETECTOR, (128, 192)))
    )
    assert large == 4 * small


def test_one_channel_of_input() -> None:
    model = Darknet(net(conv(4), head(), channels=1)).eval()
    assert model.in_channels == 1
    assert model(torch.rand(1, 1, 32, 32)).shape == (1, 32 * 32 * 2, 7)


def test_layer_outputs_are_darknets() -> None:
    """One tensor per section; a head's after its activation, where `raw_heads` is before it."""
    model = healthy(DETECTOR)
    x = image(model)
    with torch.no_grad():
        values, raw = model.layer_outputs(x), model.raw_heads(x)
    assert [tuple(v.shape[1:]) for v in values] == [rule.shape for rule in model.rules]
    assert torch.equal(values[5], values[2])
    assert torch.equal(values[3], raw[0])
    assert torch.equal(values[4], model.heads[0].activate(raw[0]))
    assert not torch.equal(values[4], raw[0])


def test_who_reads_a_head_reads_what_it_activated() -> None:
    """As in Darknet, where [yolo] works in place; the head's own raw values stay raw."""
    model = healthy(net(conv(4), head(), section("route", layers=-1), conv(4, 1), head()))
    assert [rule.index for rule in model.heads] == [2, 6]
    with torch.no_grad():
        x = image(model)
        raw, values = model.raw_heads(x), model.layer_outputs(x)
        observed = model.observe(x, [3, 4])[1]
    assert torch.equal(raw[0], values[1])
    assert torch.equal(observed[3], values[2])
    assert not torch.equal(values[2], values[1])
    assert torch.equal(observed[4], values[4])
    assert torch.equal(raw[1], values[5])


def test_a_network_without_a_head_returns_its_last_value() -> None:
    model = healthy(net(conv(4), section("avgpool")))
    x = image(model)
    with torch.no_grad():
        assert torch.equal(model(x), model.layer_outputs(x)[-1])
    with pytest.raises(UserError, match=r"net\.cfg: the network has no detection head"):
        _ = model.nc
    assert model.stride == 1


def test_the_input_is_not_written_to() -> None:
    model = healthy(net(section("dropout"), section("shortcut", frm=0, activation="relu"), conv(4)))
    x = torch.randn(1, 3, 32, 32)
    before = x.clone()
    with torch.no_grad():
        model(x)
        model.layer_outputs(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("activation", ["leaky", "relu", "swish", "mish", "linear"])
def test_running_in_place_changes_no_value_that_is_read_again(activation: str) -> None:
    """Layer 0 is read by three layers; its value must survive the first two."""
    cfg = net(
        conv(4, activation=activation), conv(4, activation=activation),
        section("shortcut", frm=0, activation="linear"), section("route", layers="0,2"),
        conv(4, activation=activation), head(),
    )  # fmt: skip
    model = healthy(cfg)
    x = image(model)
    with torch.no_grad():
        values = model.layer_outputs(x)
        again = model.layer_outputs(x)
        stem = model.layers[0]
        assert isinstance(stem, ConvolutionModule)
        assert stem.bn is not None
        by_hand = ELEMENTWISE[activation](stem.bn(stem.conv(x)))
        raw = model.raw_heads(x)
    assert torch.equal(values[0], by_hand)
    assert all(torch.equal(a, b) for a, b in zip(values, again, strict=True))
    assert torch.equal(values[2], values[1] + values[0])
    assert torch.equal(raw[0], values[-2])


# -- fusing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_fused_network_is_the_same(seed: int) -> None:
    model = healthy(random_net(seed), seed)
    fused = copy.deepcopy(model).fuse()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    x = image(model)
    with torch.no_grad():
        pairs = list(zip(fused.layer_outputs(x), model.layer_outputs(x), strict=True))
    assert max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs) < 1e-5
    assert fused.fuse() is fused
    # Control: without the statistics the difference shows.
    broken = copy.deepcopy(model)
    broken.state_dict()["layers.0.bn.running_mean"].zero_()
    broken.fuse()
    with torch.no_grad():
        pairs = list(zip(broken.layer_outputs(x), model.layer_outputs(x), strict=True))
    assert max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs) > 1e-3


def test_a_shared_kernel_is_fused_once() -> None:
    model = healthy(net(conv(4), conv(4), conv(4, share_index=1, stride=2), head()))
    x = image(model)
    with torch.no_grad():
        before = model.layer_outputs(x)
        after = model.fuse().layer_outputs(x)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(before, after, strict=True))


# -- training --------------------------------------------------------------------------------------


def test_batch_statistics_move_as_documented() -> None:
    """Momentum .1, as torch counts it; only the four arrays of a file are in the state."""
    model = healthy(DETECTOR).train()
    before = model.state_dict()["layers.0.bn.running_mean"].clone()
    x = image(model)
    model(x)
    stem = model.layers[0]
    assert isinstance(stem, ConvolutionModule)
    batch = stem.conv(x).mean((0, 2, 3))
    after = model.state_dict()["layers.0.bn.running_mean"]
    assert torch.allclose(after, 0.9 * before + 0.1 * batch, atol=1e-6)
    assert not torch.allclose(after, before)
    assert sorted(key for key in model.state_dict() if ".0." in key) == [
        "layers.0.bn.bias", "layers.0.bn.running_mean", "layers.0.bn.running_var",
        "layers.0.bn.weight", "layers.0.conv.weight",
    ]  # fmt: skip


# -- building --------------------------------------------------------------------------------------


def test_a_path_or_a_cfg(tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    save_cfg(DETECTOR, path)
    by_path, by_text, by_cfg = Darknet(path), Darknet(str(path)), Darknet(load_cfg(path))
    shapes = [tuple(rule.shape for rule in m.rules) for m in (by_path, by_text, by_cfg)]
    assert shapes[0] == shapes[1] == shapes[2] == tuple(r.shape for r in Darknet(DETECTOR).rules)
    assert format_cfg(by_path.cfg) == path.read_text(encoding="ascii")


def test_shapes_are_checked_before_anything_is_built() -> None:
    """A cfg whose kernels would take terabytes fails at once, and names the line."""
    with pytest.raises(CfgError, match=r":6: \[convolutional\]: its largest tensor would be"):
        Darknet(net(conv(10**7), conv(10**7)))
    with pytest.raises(CfgError, match="unknown section"):
        Darknet(net(conv(10**4), "[nonsense]\n"))


def test_share_index_must_name_a_convolution_of_the_same_form() -> None:
    for cfg in (
        net(conv(3), section("maxpool"), conv(3, share_index=1)),
        net(conv(3), conv(4), conv(3, share_index=1)),
        net(conv(3), conv(3, 1), conv(3, share_index=1)),
        net(conv(4), conv(3), conv(3, share_index=0)),
    ):
        with pytest.raises(CfgError, match="share_index"):
            Darknet(cfg)
    Darknet(net(conv(3), conv(3), conv(3, share_index=1)))


# -- convert ---------------------------------------------------------------------------------------


def saved(tmp_path: Path) -> tuple[Path, Path, Darknet]:
    cfg, weights = tmp_path / "a.cfg", tmp_path / "deep" / "last.weights"
    weights.parent.mkdir()
    cfg.write_bytes(b"# caf\xe9\n" + format_cfg(DETECTOR).encode())
    model = healthy(DETECTOR)
    model.seen = 2**33
    model.save_weights(weights)
    return cfg, weights, model


def test_convert_there_and_back(tmp_path: Path) -> None:
    cfg, weights, model = saved(tmp_path)
    checkpoint = convert(cfg, weights)
    assert checkpoint == tmp_path / "deep" / "converted.pt"
    content = torch.load(checkpoint, weights_only=True)
    assert set(content) >= {"model", "seen", "cfg"}
    assert content["seen"] == 2**33
    parse_cfg(content["cfg"])
    back = convert(str(cfg), str(checkpoint))
    assert back == tmp_path / "deep" / "converted.weights"
    assert back.read_bytes() == weights.read_bytes()
    state = Darknet(cfg).load_weights(checkpoint).state_dict()
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())


def test_convert_refuses_what_does_not_fit(tmp_path: Path) -> None:
    cfg, weights, _ = saved(tmp_path)
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(UserError, match="1 numbers are missing"):
        convert(cfg, weights)
    assert {path.name for path in weights.parent.iterdir()} == {"last.weights"}


def test_convert_is_what_a_star_import_brings(tmp_path: Path, root: Path) -> None:
    """Run from another folder's point of view: the clone on the path, nothing else."""
    cfg, weights, _ = saved(tmp_path)
    code = f"from models import *; print(convert({str(cfg)!r}, {str(weights)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(weights.with_name("converted.pt"))
    assert models.__all__ == ["Darknet", "convert"]
