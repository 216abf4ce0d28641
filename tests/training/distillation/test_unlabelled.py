"""`--unlabelled FOLDER`: what counts, what is no negative, what is refused."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import Darknet
from tests.support.nets import small_detector
from tests.support.tiny_data import make_set, write_image
from tests.support.training_project import content, run
from utils.command.errors import UserError
from utils.data.dataset import DetectionDataset, Draw
from utils.data.letterbox import identity
from utils.data.loader import Batch
from utils.data.options import AugmentOptions
from utils.training.distillation.options import TeacherOptions
from utils.training.distillation.unlabelled import images_without_labels, labels_loss
from utils.training.losses.loss import DetectionLoss
from utils.training.losses.options import LossOptions
from utils.training.optimization.ranks import Ranks

TARGETS = torch.tensor([[0, 1, 0.4, 0.6, 0.3, 0.3], [2, 0, 0.7, 0.2, 0.5, 0.4]])


def white(folder: Path, count: int = 3) -> Path:
    """A folder, with one below it, of images that are white all over."""
    for number in range(count):
        place = folder / ("deep" if number == 0 else "") / f"w{number}.png"
        write_image(place, np.full((48, 64, 3), 255, np.uint8))
    return folder


def batch_of(indices: list[int]) -> Batch:
    size = len(indices)
    return Batch(torch.zeros(size, 3, 32, 32), TARGETS, [identity((32, 32))] * size, indices)


def raw_head(seed: int = 0, images: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, 14, 4, 4, generator=generator).requires_grad_()


@pytest.mark.parametrize("from_cfg", [frozenset(), frozenset(("box",))])
def test_the_labels_loss_is_that_of_the_labelled_images_alone(from_cfg: frozenset[str]) -> None:
    loss = DetectionLoss(small_detector().heads, LossOptions(from_cfg=from_cfg))
    raw, batch = raw_head(), batch_of([5, 11, 6, 10])  # 0 and 2 have labels
    got = labels_loss(loss, [raw], batch, 10, Ranks())
    fewer = TARGETS.clone()
    fewer[1, 0] = 1
    wanted = loss([raw[[0, 2]]], fewer, (32, 32))
    as_negatives = loss([raw], TARGETS, (32, 32))
    for name, part in wanted.items():
        assert got[name].item() == pytest.approx(part.item(), rel=1e-6)
    assert got["obj"].item() != pytest.approx(as_negatives["obj"].item(), rel=0.01)  # control
    (gradient,) = torch.autograd.grad(sum(got.values()), raw)
    assert bool(gradient[0].any())
    assert bool(gradient[2].any())
    assert not bool(gradient[[1, 3]].any())


def test_a_batch_without_any_label_has_no_loss_but_all_its_names() -> None:
    loss = DetectionLoss(small_detector().heads)
    raw = raw_head()
    batch = replace(batch_of([10, 11, 12, 13]), targets=torch.zeros(0, 6))
    got = labels_loss(loss, [raw], batch, 10, Ranks())
    assert got.keys() == loss([raw], TARGETS, (32, 32)).keys()
    assert [part.item() for part in got.values()] == [0, 0, 0]
    (gradient,) = torch.autograd.grad(sum(got.values()), raw)
    assert not bool(gradient.any())
    plain = labels_loss(loss, [raw], batch, 14, Ranks())  # negative control: all are labelled
    assert plain["obj"].item() > 0


class TwoRanks(Ranks):
    """A rank of two that have 1.5 labelled images on average."""

    def mean(self, value: float) -> float:
        return 1.5


@pytest.mark.parametrize("ranks", [TwoRanks(world=2), Ranks()])
def test_processes_with_more_and_fewer_labelled_images_make_one_loss(ranks: Ranks) -> None:
    """Where the cfg decides, the loss is divided by images: by those of all processes."""
    loss = DetectionLoss(small_detector().heads, LossOptions(from_cfg=frozenset(("box",))))
    raw = raw_head()
    whole = labels_loss(loss, [raw], batch_of([5, 11, 6, 7]), 10, Ranks())  # 0, 2 and 3
    own = [batch_of(indices) for indices in ([5, 6], [11, 7])]
    targets = TARGETS.clone()
    targets[1, 0] = 1
    rows = [targets, torch.zeros(0, 6)]
    parts = [
        labels_loss(loss, [raw[k::2]], replace(own[k], targets=rows[k]), 10, ranks)
        for k in range(2)
    ]
    means = {name: (parts[0][name] + parts[1][name]).item() / 2 for name in whole}
    alike = [means[name] == pytest.approx(whole[name].item(), rel=1e-5) for name in whole]
    assert all(alike) is (ranks.world == 2)  # negative control: each by its own


def test_no_mosaic_mixes_tiles_of_both_sorts(tmp_path: Path) -> None:
    black = make_set(tmp_path, 4)
    for path in (tmp_path / "images").iterdir():
        write_image(path, np.zeros((48, 64, 3), np.uint8))
    options = AugmentOptions(mosaic=1, hsv_h=0, hsv_s=0, hsv_v=0, scale=0.1, translate=0)
    found = images_without_labels(str(white(tmp_path / "more")), (black,))
    data = DetectionDataset(black, 2, (32, 32), options, unlabelled=found)
    assert (len(data), data.labelled) == (7, 4)
    for epoch in range(8):
        shares = [
            float((data[Draw(sample, epoch)].image > 200).float().mean()) for sample in range(7)
        ]
        assert max(shares[:4]) == 0
        assert min(shares[4:]) > 0.5
        assert all(len(data[Draw(sample, epoch)].labels) == 0 for sample in range(4, 7))


def test_a_data_set_without_further_images_draws_as_it_did(tmp_path: Path) -> None:
    source = make_set(tmp_path, 6)
    alone = DetectionDataset(source, 2, (32, 32), AugmentOptions())
    more = images_without_labels(str(white(tmp_path / "more")), (source,))
    both = DetectionDataset(source, 2, (32, 32), AugmentOptions(), unlabelled=more)
    for sample in range(6):
        assert torch.equal(alone[Draw(sample, 3)].image, both[Draw(sample, 3)].image)


def test_label_files_beside_them_are_not_read(tmp_path: Path) -> None:
    source = make_set(tmp_path / "set", 2)
    make_set(tmp_path / "other", 3)
    more = images_without_labels(str(tmp_path / "other"), (source,))
    data = DetectionDataset(source, 2, (32, 32), unlabelled=more)
    assert [len(sample.labels) for sample in data.samples[2:]] == [0, 0, 0]
    assert any(
        len(s.labels) for s in DetectionDataset(tmp_path / "other/list.txt", 2, (32, 32)).samples
    )


def test_images_of_the_data_set_are_left_out_and_folders_with_none_refused(tmp_path: Path) -> None:
    train, valid = make_set(tmp_path / "a", 2), make_set(tmp_path / "b", 2)
    white(tmp_path / "more")
    found = images_without_labels(str(tmp_path), (train, valid, None))
    assert [path.name for path in found] == ["w0.png", "w1.png", "w2.png"]
    assert len(images_without_labels(str(tmp_path), (train, None))) == 5  # negative control
    assert images_without_labels("", (train,)) == ()
    (tmp_path / "empty").mkdir()
    for folder, why in (
        (tmp_path / "nothing", "is no folder"),
        (tmp_path / "empty", "no images in it"),
        (tmp_path / "a", "the data set names all"),
    ):
        with pytest.raises(UserError, match=why):
            images_without_labels(str(folder), (train, valid))


def test_without_a_teacher_they_are_refused() -> None:
    with pytest.raises(UserError, match=r"--unlabelled: .* need a teacher"):
        TeacherOptions(unlabelled="more")
    assert TeacherOptions("t.cfg", "t.weights", unlabelled="more").unlabelled == "more"


def test_a_run_trains_on_them_and_says_so(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Darknet("my.cfg").save_weights(project / "t.weights")
    white(project / "more", 5)
    teacher = ["--t-cfg", "my.cfg", "--t-weights", "t.weights", "--epochs", "1"]
    path = run(*teacher, "--unlabelled", "more", "--name", "more")
    log = caplog.text
    assert "5 more images of more, learned from the teacher alone" in log
    assert "7 images to train on" in log
    assert "1 epoch of 6 steps of 2 images" in log
    plain = run(*teacher, "--name", "plain")
    assert content(path / "last.pt")["seen"] == 12
    assert content(plain / "last.pt")["seen"] == 6
    shutil.rmtree(project / "more")
    with pytest.raises(UserError, match="is no folder"):
        run(*teacher, "--unlabelled", "more")
