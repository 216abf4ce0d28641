"""Blocks of v3u to YOLO26 without attention: the cfg computes what the modules compute."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models import Darknet
from tests.support.checkpoints import like_v8 as theirs
from tests.support.checkpoints import like_v10 as newer
from tests.support.checkpoints.like_v8 import Bottleneck
from tests.support.translated import SIZE, assert_prunes, images, largest_difference, opencv_raw
from translate import main
from utils.cfg import replace_layers, set_option
from utils.command.errors import UserError
from utils.translate.translation import translate_checkpoint

BLOCKS: dict[str, tuple[Callable[[], list[nn.Module]], int]] = {
    "sequential": (lambda: [nn.Sequential(*(Bottleneck(16, 16, 16, True) for _ in range(2)))], 16),
    "halving pool": (lambda: [nn.MaxPool2d(2, 2, 0)], 16),
    "overlapping pool": (lambda: [nn.MaxPool2d(3, 2, 1)], 16),
    "tiny": (lambda: [nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1, 0)], 16),
    "padded before": (lambda: [nn.ZeroPad2d((2, 0, 2, 0)), nn.MaxPool2d(3, 1, 0)], 16),
    "C2": (lambda: [newer.C2(16, 24, 2)], 24),
    "C3k2": (lambda: [newer.C3k2(16, 24, 2)], 24),
    "C3k2 of C3k": (lambda: [newer.C3k2(16, 32, 2, newer.C3k)], 32),
    "ghosts": (lambda: [newer.GhostConv(16, 24, 3, 2), newer.C3Ghost(24, 32, 2)], 32),
    "ghost, stride 2": (lambda: [newer.GhostBottleneck(16, 24, 2)], 24),
    "SPPF with a sum": (lambda: [newer.AddedSPPF(16)], 16),
    "SPPF, two poolings": (lambda: [newer.AddedSPPF(16, 2)], 16),
    "SCDown": (lambda: [newer.SCDown(16, 24)], 24),
    "C2fCIB": (lambda: [newer.C2fCIB(16, 32, 2)], 32),
    "small CIB": (lambda: [newer.CIB(16, large=False)], 16),
    "transposed": (lambda: [nn.Identity(), nn.ConvTranspose2d(16, 12, 2, 2)], 12),
    "transposed, no bias": (lambda: [nn.ConvTranspose2d(16, 6, 3, 3, bias=False)], 6),
}
TAKEN_EVERYWHERE = ["tiny", "C2", "C3k2 of C3k", "ghosts", "SPPF with a sum", "C2fCIB"]


@pytest.mark.parametrize("name", BLOCKS)
@torch.no_grad()
def test_a_block(name: str, tmp_path: Path) -> None:
    blocks, width = BLOCKS[name]
    reference = theirs.healthy(newer.around(*blocks(), width=width))
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", reference), SIZE)
    assert largest_difference(found, reference) < 1e-5
    other = theirs.healthy(copy.deepcopy(reference), seed=1)
    assert largest_difference(found, other) > 1e-2


@torch.no_grad()
def test_a_pooling_over_zeros_is_not_darknets(tmp_path: Path) -> None:
    """Darknet's own pooling skips what lies outside; swish has negative maxima to show it."""
    reference = theirs.healthy(newer.around(*BLOCKS["tiny"][0](), width=16))
    reference.model[0].bn.bias.fill_(-2.0)
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", reference), SIZE)
    assert largest_difference(found, reference) < 1e-5
    pool = next(k for k, s in enumerate(found.cfg.layers) if s.kind == "maxpool")
    shift = next(k for k, s in enumerate(found.cfg.layers) if s.has("groups"))
    plain = set_option(found.cfg.layers[shift], "size", 1)
    plain = set_option(plain, "padding", 0)
    wrong = replace_layers(
        found.cfg, {shift: plain, pool: set_option(found.cfg.layers[pool], "padding", 1)}
    )
    state = dict(found.state)
    state[f"layers.{shift}.conv.weight"] = torch.ones(16, 1, 1, 1)
    model = Darknet(wrong).eval()
    model.load_state(state)
    pairs = zip(model.raw_heads(images()), reference.raw(images()), strict=True)
    assert max(float((a - b).abs().max()) for a, b in pairs) > 1e-2


@torch.no_grad()
def test_a_fused_pair_of_depthwise_kernels(tmp_path: Path) -> None:
    reference = theirs.healthy(newer.around(newer.CIB(16), width=16))
    fused = copy.deepcopy(reference)
    rep = fused.model[1].cv1[2]
    large, small = (nn.utils.fuse_conv_bn_eval(c.conv, c.bn) for c in (rep.conv, rep.conv1))
    large.weight += nn.functional.pad(small.weight, (2, 2, 2, 2))
    large.bias += small.bias
    rep.conv = large
    del rep.conv1
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", fused), SIZE)
    assert largest_difference(found, reference) < 1e-5


@pytest.mark.parametrize(
    "name", ["tiny", "C2", "C3k2 of C3k", "ghosts", "SPPF with a sum", "C2fCIB"]
)
def test_it_prunes(name: str, tmp_path: Path) -> None:
    blocks, width = BLOCKS[name]
    reference = theirs.healthy(newer.around(*blocks(), width=width))
    assert_prunes(theirs.save(tmp_path / "a.pt", reference))


@pytest.mark.parametrize(
    "name", ["tiny", "C2", "C3k2 of C3k", "ghosts", "SPPF with a sum", "C2fCIB"]
)
@torch.no_grad()
def test_opencv_runs_it(name: str, tmp_path: Path) -> None:
    blocks, width = BLOCKS[name]
    reference = theirs.healthy(newer.around(*blocks(), width=width))
    path = theirs.save(tmp_path / "a.pt", reference)
    cfg = main(
        ["--weights", str(path), "--output", str(tmp_path / "a.cfg"), "--img-size", "64", "96"]
    )
    for out, wanted in zip(opencv_raw(cfg, images()), reference.raw(images()), strict=True):
        assert (out - wanted).abs().max() < 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("size", ["n", "s", "m", "l", "x"])
def test_every_size_of_c3k2(size: str, tmp_path: Path) -> None:
    """Depth and what C3k2 holds differ by size; widths are a fraction here."""
    depth, inner = {"n": (1, None), "s": (1, None)}.get(size, (2, newer.C3k))
    blocks = [newer.C3k2(16, 24 if inner is None else 32, depth, inner)]
    reference = theirs.healthy(newer.around(*blocks, width=24 if inner is None else 32))
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", reference), SIZE)
    assert largest_difference(found, reference) < 1e-5


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (nn.MaxPool2d(2, 2, ceil_mode=True), "round down"),
        (nn.ZeroPad2d((0, 1, 0, 2)), "no square kernel"),
        (nn.ZeroPad2d((0, -1, 0, 1)), "four whole numbers"),
        (nn.ZeroPad2d((0, 10**9, 0, 10**9)), "at most 16"),
        (nn.ConvTranspose2d(16, 16, 4, 2, 1), "side by side"),
        (nn.ConvTranspose2d(16, 16, 2, 2, groups=2), "side by side"),
        (nn.Sequential(nn.Sequential(nn.Linear(4, 4))), r"0\.0 \(Linear\).*not translated"),
    ],
)
def test_what_cannot_be_said_is_refused(block: nn.Module, message: str, tmp_path: Path) -> None:
    path = theirs.save(tmp_path / "a.pt", newer.around(block, width=16))
    with pytest.raises(UserError, match=message):
        translate_checkpoint(path, SIZE)


def test_a_block_inside_itself(tmp_path: Path) -> None:
    inside = nn.Sequential(nn.Identity())
    reference = newer.around(inside, width=16)
    dict.__setitem__(inside._modules, "0", inside)
    with pytest.raises(UserError, match="deeper ones, than any network"):
        translate_checkpoint(theirs.save(tmp_path / "a.pt", reference), SIZE)


@torch.no_grad()
def test_the_reference_of_yolov6(shared: Path) -> None:
    folder = shared / "ultra"
    vectors = np.load(folder / "v6_small_nc3.npz")
    found = translate_checkpoint(folder / "v6_small_nc3.pt", (256, 320))
    model = Darknet(found.cfg).eval()
    model.load_state(found.state)
    x = torch.from_numpy(vectors["input"].transpose(2, 0, 1) / np.float32(255))[None]
    limit = max(2e-4, 2 * float(vectors["fp32_error"]))
    for level, raw in enumerate(model.raw_heads(x)):
        wanted = torch.from_numpy(vectors[f"raw_{level}"]).view(raw.shape)
        assert (raw - wanted).abs().max() <= limit
        assert (raw.roll(1, 3) - wanted).abs().max() > 1e-2
