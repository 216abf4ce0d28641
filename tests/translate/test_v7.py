"""YOLOv7 (and YOLOv5's Focus): what is translated computes what the checkpoint's modules do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from models import Darknet
from tests.support.checkpoints import like_v8 as theirs
from tests.support.checkpoints.like_v7 import BottleneckCSP, Focus, ReOrg, RepConv, yolov7
from tests.support.translated import SIZE, assert_prunes, images, ours
from translate import main
from utils.command.errors import UserError
from utils.runtimes.choose import open_opencv
from utils.translate.blocks.writer import Translated
from utils.translate.translation import translate_checkpoint


def reference_model(first: nn.Module | None = None) -> theirs.DetectionModel:
    torch.manual_seed(0)
    model = yolov7(first=first)
    theirs.healthy(model)
    return model


def raw_of(model: theirs.DetectionModel) -> list[torch.Tensor]:
    """The raw heads, before the logistic."""
    inputs = model.head_inputs(images())
    return [model.model[-1].raw(level, value) for level, value in enumerate(inputs)]


def off_by(found: Translated, wanted: list[torch.Tensor]) -> float:
    """Largest difference of the logistic outputs, which the cfg's last convolutions give."""
    raw = ours(found).raw_heads(images())
    return max(float((a - b.sigmoid()).abs().max()) for a, b in zip(raw, wanted, strict=True))


@pytest.mark.parametrize(
    "first",
    [None, Focus(3, 12), Focus(3, 12, 1), ReOrg()],
    ids=["conv", "focus", "focus1", "reorg"],
)
@torch.no_grad()
def test_the_network_and_opencv(first: nn.Module | None, tmp_path: Path) -> None:
    reference = reference_model(first)
    wanted = raw_of(reference)
    assert max(float(value.abs().max()) for value in wanted) < 20  # the logistic tells them apart
    path = theirs.save(tmp_path / "a.pt", reference)
    found = translate_checkpoint(path, SIZE)
    assert found.names == ("thing 0", "thing 1", "thing 2")
    assert off_by(found, wanted) < 1e-5
    boxes = reference.model[-1].boxes(reference.head_inputs(images()))
    assert torch.allclose(ours(found)(images()), boxes, atol=1e-2, rtol=1e-4)
    cfg = main(
        ["--weights", str(path), "--output", str(tmp_path / "a.cfg"), "--img-size", "64", "96"]
    )
    run = open_opencv(Darknet(cfg), cfg.with_suffix(".weights"))
    assert torch.allclose(run(images()), boxes, atol=1e-2, rtol=1e-3)
    # Negative control: what the head has learnt besides its kernels matters.
    for kept in (*reference.model[-1].ia, *reference.model[-1].im):
        kept.implicit.mul_(1.05)
    assert off_by(found, raw_of(reference)) > 1e-3


@torch.no_grad()
def test_ways_that_meet_before_their_normalisation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    blocks = [(block, block.f) for block in yolov7().model]
    blocks[22] = (BottleneckCSP(32, 24, 2), 20)
    reference = theirs.DetectionModel(blocks)
    theirs.healthy(reference)
    wanted = raw_of(reference)
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", reference), SIZE)
    assert off_by(found, wanted) < 1e-5
    joint = reference.model[22].bn
    joint.weight.copy_(joint.weight.flip(0))  # negative control: each has its own part
    assert off_by(found, raw_of(reference)) > 1e-3


@torch.no_grad()
def test_a_sum_that_yolov7_has_fused(tmp_path: Path) -> None:
    """What its own tool leaves: one convolution with a bias, and None for the branches."""
    reference = reference_model()
    wanted = raw_of(reference)
    for block in reference.model:
        if isinstance(block, RepConv):
            branches = (block.rbr_dense, block.rbr_1x1, block.rbr_identity)
            answers = [answers_of(branch, block.rbr_dense[0].in_channels) for branch in branches
                       if branch is not None]  # fmt: skip
            fused = nn.Conv2d(block.rbr_dense[0].in_channels, len(answers[0][1]), 3, padding=1)
            fused.weight.copy_(torch.stack([weight for weight, _ in answers]).sum(0))
            fused.bias.copy_(torch.stack([bias for _, bias in answers]).sum(0))
            block.rbr_reparam = fused
            block.rbr_dense = block.rbr_1x1 = block.rbr_identity = None
    found = translate_checkpoint(theirs.save(tmp_path / "b.pt", reference), SIZE)
    assert off_by(found, wanted) < 1e-5


def answers_of(branch: nn.Module, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A branch as a kernel of 3x3 and a bias: its answers to a dot in each channel."""
    zero = torch.zeros(1, channels, 5, 5)
    bias = branch(zero)[0, :, 2, 2]
    columns = []
    for k in range(channels):
        dot = zero.clone()
        dot[0, k, 2, 2] = 1
        columns.append((branch(dot)[0] - bias.view(-1, 1, 1))[:, 1:4, 1:4].flip(1, 2))
    return torch.stack(columns, 1), bias


def test_it_prunes(tmp_path: Path) -> None:
    path = theirs.save(tmp_path / "a.pt", reference_model(ReOrg()))
    assert_prunes(path)


def test_what_cannot_be_said_is_refused(tmp_path: Path) -> None:
    def refusal(model: theirs.DetectionModel) -> str:
        with pytest.raises(UserError) as error:
            translate_checkpoint(theirs.save(tmp_path / "a.pt", model), SIZE)
        return str(error.value)

    model = reference_model()
    model.model[6].m = nn.MaxPool2d(3, 2, 1)
    assert "2x2 cells" in refusal(model)
    model = reference_model()
    model.model[-1].ia = model.model[-1].ia[:2]
    assert "has 2 and 3 tensors for 3 levels" in refusal(model)
    model = reference_model()
    model.model[21].rbr_1x1[0] = nn.Conv2d(7, 24, 1, bias=False)
    assert "tensors do not fit each other" in refusal(model)
    model = reference_model(Focus(3, 12))
    model.model[0].contract = nn.Identity()
    assert "another order" in refusal(model)
    model = reference_model(Focus(3, 12))
    model.model[0].conv.conv = nn.Conv2d(11, 12, 3, 1, 1, bias=False)
    assert "reads 11 channels" in refusal(model)
    model = reference_model()
    model.model[1] = ReOrg()
    model.model[1].f, model.model[1].i = -1, 1
    assert "something else than the image" in refusal(model)
