"""Attention of YOLOv10, 11, 12, 26: translated, pruned, and who says that it cannot run it."""

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
from tests.support.checkpoints import like_v11 as blocks
from tests.support.checkpoints.like_v10 import around
from tests.support.translated import SIZE, assert_prunes, largest_difference, ours
from translate import main
from utils.cfg import replace_layers, set_option
from utils.command.errors import UserError
from utils.runtimes.opencv import OpenCVDarknet
from utils.translate.blocks.writer import Answer
from utils.translate.translation import translate_checkpoint

BLOCKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "C2PSA": (lambda: blocks.C2PSA(16, 2), 16),
    "PSA": (lambda: blocks.PSA(16), 16),
    "A2C2f": (lambda: blocks.A2C2f(16, 24, 4), 24),
    "A2C2f, whole map": (lambda: blocks.A2C2f(16, 24, 1), 24),
    "A2C2f of C3k": (lambda: blocks.A2C2f(16, 24, 0), 24),
    "A2C2f with gammas": (lambda: blocks.A2C2f(16, 16, 4, residual=True), 16),
    "C3k2 with attention": (lambda: blocks.AttendingC3k2(16), 16),
}


def reference(name: str) -> theirs.DetectionModel:
    make, width = BLOCKS[name]
    # At stride 4 first, or the maps of these sizes would have thousands of cells.
    made = theirs.healthy(around(theirs.Conv(16, 16, 3, 2), make(), width=width))
    assert isinstance(made, theirs.DetectionModel)
    return made


@pytest.mark.parametrize("name", BLOCKS)
@torch.no_grad()
def test_a_block(name: str, tmp_path: Path) -> None:
    wanted = reference(name)
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", wanted), SIZE)
    assert largest_difference(found, wanted) < 1e-5
    for index, layer in enumerate(found.cfg.layers):
        if layer.kind == "attention":
            half = set_option(layer, "scale", layer.number("scale") / 2)
            model = Darknet(replace_layers(found.cfg, {index: half})).eval()
            model.load_state(found.state)
            pairs = zip(model.raw_heads(images()), wanted.raw(images()), strict=True)
            assert max(float((a - b).abs().max()) for a, b in pairs) > 1e-3


def images() -> torch.Tensor:
    return torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_a_fused_checkpoint(tmp_path: Path) -> None:
    wanted = reference("C2PSA")
    fused = copy.deepcopy(wanted)
    for module in fused.modules():
        if isinstance(module, theirs.Conv):
            module.conv = nn.utils.fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity()
    for module in fused.modules():
        if isinstance(module, theirs.Conv):
            del module.bn
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", fused), SIZE)
    assert largest_difference(found, wanted) < 1e-5


def test_tensors_that_do_not_fit_the_heads(tmp_path: Path) -> None:
    wanted = reference("C2PSA")
    wanted.model[2].m[0].attn.qkv.bn = nn.BatchNorm2d(5)
    with pytest.raises(UserError, match="do not fit each other"):
        translate_checkpoint(theirs.save(tmp_path / "a.pt", wanted), SIZE)


@pytest.mark.parametrize("name", BLOCKS)
def test_it_prunes(name: str, tmp_path: Path) -> None:
    assert_prunes(theirs.save(tmp_path / "a.pt", reference(name)))


def test_who_refuses_it(tmp_path: Path) -> None:
    """One line, which names the way that is open."""
    weights = theirs.save(tmp_path / "a.pt", reference("C2PSA"))
    flags = ["--weights", str(weights), "--output", str(tmp_path / "a.cfg"), "--img-size", "64"]
    way = r"\[attention\].*export\.py --format onnx"
    with pytest.raises(UserError, match=way):
        main([*flags, "--strict-darknet"])
    with pytest.raises(UserError, match=way):
        main([*flags, "--head", "yolo"])
    cfg = main(flags)
    with pytest.raises(UserError, match=way):
        OpenCVDarknet(cfg, cfg.with_suffix(".weights"))


def test_the_translator_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, said in (("C2PSA", True), ("A2C2f of C3k", False)):
        weights = theirs.save(tmp_path / "a.pt", reference(name))
        main(["--weights", str(weights), "--output", str(tmp_path / "a.cfg"), "--img-size", "64",
              "--force"])  # fmt: skip
        assert ("export.py --format onnx" in capsys.readouterr().out) == said


def test_rows_that_are_not_those_of_the_heads(tmp_path: Path) -> None:
    wanted = reference("C2PSA")
    wanted.model[2].m[0].attn.key_dim = 3
    with pytest.raises(UserError, match=r"attn \(Attention\).*2 heads of 3, 3, 4"):
        translate_checkpoint(theirs.save(tmp_path / "a.pt", wanted), SIZE)


@pytest.mark.parametrize(
    ("name", "answer", "key"),
    [
        ("y11_small_nc3", "own", "raw"),
        ("v10_small_nc4", "own", "raw"),
        ("v10_small_nc4", "one2many", "raw"),
        ("v10_small_nc4", "one2one", "one2one"),
    ],
)
@torch.no_grad()
def test_the_references(name: str, answer: Answer, key: str, shared: Path) -> None:
    folder = shared / "ultra"
    vectors = np.load(folder / f"{name}.npz")
    found = translate_checkpoint(folder / f"{name}.pt", (256, 320), answer)
    x = torch.from_numpy(vectors["input"].transpose(2, 0, 1) / np.float32(255))[None]
    limit = max(2e-4, 2 * float(vectors["fp32_error"]))
    for level, raw in enumerate(ours(found).raw_heads(x)):
        wanted = torch.from_numpy(vectors[f"{key}_{level}"]).view(raw.shape)
        assert (raw - wanted).abs().max() <= limit
        assert (raw.roll(1, 3) - wanted).abs().max() > 1e-2
