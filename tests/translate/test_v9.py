"""YOLOv9: what is translated computes what the checkpoint's modules compute, and prunes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.checkpoints import like_v8 as theirs
from tests.support.checkpoints.like_v9 import AConv, ADown, RepConv, yolov9
from tests.support.translated import assert_prunes, images, largest_difference, opencv_raw, ours
from translate import main
from utils.command.errors import UserError
from utils.translate.translation import translate_checkpoint

SIZE = (64, 96)


@pytest.mark.parametrize("down", [AConv, ADown])
@torch.no_grad()
def test_the_network_and_opencv(down: type[AConv] | type[ADown], tmp_path: Path) -> None:
    reference = theirs.healthy(yolov9(down))
    path = theirs.save(tmp_path / "a.pt", reference)
    found = translate_checkpoint(path, SIZE)
    assert found.names == ("thing 0", "thing 1", "thing 2")
    assert largest_difference(found, reference) < 1e-5
    cfg = main(
        ["--weights", str(path), "--output", str(tmp_path / "a.cfg"), "--img-size", "64", "96"]
    )
    first_line = (tmp_path / "a.cfg").read_text().splitlines()[0]
    assert "a.pt" in first_line and str(tmp_path) not in first_line
    for out, wanted in zip(opencv_raw(cfg, images()), reference.raw(images()), strict=True):
        assert (out - wanted).abs().max() < 1e-4 * wanted.abs().max()
        assert (out.flip(3) - wanted).abs().max() > 1e-2 * wanted.abs().max()


@torch.no_grad()
def test_a_sum_of_branches_keeps_a_gamma(tmp_path: Path) -> None:
    """It is that of the sum, were its branches uncorrelated; a dead channel's is almost 0."""
    reference = theirs.healthy(yolov9(n=1))
    rep: RepConv = reference.model[4].cv2[0].m[0].cv1
    rep.conv1.bn.weight[:2], rep.conv2.bn.weight[:2] = 3.0, -4.0
    rep.conv1.bn.weight[2], rep.conv2.bn.weight[2] = 0.0, 0.0
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", reference), SIZE)
    assert largest_difference(found, reference) < 1e-5
    gammas = [t for key, t in found.state.items() if key.endswith("bn.weight")]
    assert any(torch.allclose(t[:2], torch.tensor(5.0)) and t[2] < 0.01 for t in gammas)


@torch.no_grad()
def test_branches_that_ultralytics_has_fused(tmp_path: Path) -> None:
    reference = theirs.healthy(yolov9(n=1))
    raw = reference.raw(images())
    for module in reference.modules():
        if isinstance(module, RepConv):
            old = module.conv1.conv
            fused = torch.nn.Conv2d(old.in_channels, old.out_channels, 3, padding=1)
            zero = torch.zeros(1, fused.in_channels, 5, 5)
            fused.bias.copy_((module.conv1(zero) + module.conv2(zero))[0, :, 2, 2])
            for k in range(fused.in_channels):
                dot = zero.clone()
                dot[0, k, 2, 2] = 1
                seen = module.conv1(dot) + module.conv2(dot) - fused.bias.view(1, -1, 1, 1)
                fused.weight[:, k] = seen[0, :, 1:4, 1:4].flip(1, 2)
            module.conv = fused
            del module.conv1, module.conv2
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", reference), SIZE)
    for a, b in zip(ours(found).raw_heads(images()), raw, strict=True):
        assert (a - b).abs().max() < 1e-4 * b.abs().max()


@pytest.mark.parametrize("down", [AConv, ADown])
def test_it_prunes(down: type[AConv] | type[ADown], tmp_path: Path) -> None:
    path = theirs.save(tmp_path / "a.pt", theirs.healthy(yolov9(down)))
    assert_prunes(path)


def test_what_cannot_be_said_is_refused(tmp_path: Path) -> None:
    reference = yolov9(ADown)
    reference.model[3].cv1.conv = torch.nn.Conv2d(5, 16, 3, 2, 1, bias=False)
    with pytest.raises(UserError, match=r"model\.3.*halves of 5 and 8 channels"):
        translate_checkpoint(theirs.save(tmp_path / "a.pt", reference), SIZE)
