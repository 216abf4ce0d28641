"""YOLOv8 to YOLO26, tiny: from random weights and from checkpoints; sparse, pruned, taught."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import pytest
import torch

import slim_prune
import translate
from models import Darknet
from tests.support.checkpoints import like_v8 as theirs
from tests.support.checkpoints.like_v10 import LightDetect, around
from tests.support.prune_case import prune_by_flags
from tests.support.training_project import run
from tests.support.two_sets import HEIGHT_WIDTH, two_sets
from utils.detection.boxes import iou, xywh_to_xyxy
from utils.network.initialize import initialize
from utils.network.layers import Dfl
from utils.pruning.report.result import Pruned
from utils.training.losses.loss import DetectionLoss, total
from utils.zoo import BY_CLASSES, pyramid, yolov8, yolov10

TINY = pyramid.Size(0.33, 0.125, 512)
SMALL = ["--img-size", "64", "--batch-size", "4", "--workers", "0", "--mosaic", "0",
         "--lr0", "0.002", "--warmup-epochs", "0"]  # fmt: skip


def losses(folder: Path, name: str) -> list[float]:
    with (folder / "results.csv").open(encoding="utf-8") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


SLOW = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("yolov8", "yolov10", "yolo11", "yolo12")
]


@pytest.mark.parametrize("family", ["yolo26", *SLOW])
def test_the_whole_way(family: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (yolov8, yolov10, pyramid):
        monkeypatch.setitem(module.SIZES, "n", TINY)
    Path("my.cfg").write_text(BY_CLASSES[f"{family}n"](2), encoding="ascii")
    base = run(*SMALL, "--epochs", "2", "-sr", "--s", "auto", "--notest", "--name", "base")
    gammas = losses(base, "gamma/median")
    assert 0 < gammas[1] < gammas[0] < 1 and losses(base, "loss/total")[1] < 20
    pruned = prune_by_flags(slim_prune.STRATEGY, [
        "--cfg", "my.cfg", "--weights", str(base / "last.pt"), "--data", "my.data",
        "--global-percent", "0.5", "--importance", "taylor", "--img-size", "64",
        "--device", "cpu", "--batch-size", "4", "--workers", "0",
    ])  # fmt: skip
    assert isinstance(pruned, Pruned)
    assert max(pruned.proof.masked, pruned.proof.folded) < 1e-9
    assert pruned.after.parameters < 0.8 * pruned.before.parameters
    assert pruned.cfg_path and pruned.weights_path
    tuned = run(
        *SMALL, "--cfg", str(pruned.cfg_path), "--weights", str(pruned.weights_path),
        "--t-cfg", "my.cfg", "--t-weights", str(base / "last.pt"), "--epochs", "1",
        "--distill", "response", "feature", "cross", "--name", "tuned",
    )  # fmt: skip
    assert losses(tuned, "loss/kd")[0] > 0
    model = Darknet(pruned.cfg_path, weights=tuned / "last.pt").eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 64)).isfinite().all()
    both = family in ("yolov10", "yolo26")
    assert len(model.heads) == (6 if both else 3)
    assert len(model.answering_().heads) == 3


@pytest.mark.parametrize("head", ["one2many", "both"])
def test_from_a_checkpoint(head: str, project: Path) -> None:
    """Its classes are others, so the last layers of these start anew, in each set."""
    made = partial(LightDetect, reg_max=1)
    net = theirs.healthy(around(theirs.Bottleneck(16, 16, 16, True), width=16, head=made))
    weights = theirs.save(project / "their.pt", net)
    translate.main([
        "--weights", str(weights), "--data", "my.data", "--output", "my.cfg",
        "--img-size", "64", "--bn-export", "native", "--head", head, "--force",
    ])  # fmt: skip
    before = Darknet("my.cfg", weights="my.weights")
    folder = run(*SMALL, "--weights", "my.weights", "--epochs", "1", "--name", "base")
    after = Darknet("my.cfg", weights=folder / "last.pt")
    changed = {
        key.split(".")[1] for key, tensor in after.state_dict().items()
        if not torch.equal(tensor, before.state_dict()[key])
    }  # fmt: skip
    assert changed == {key.split(".")[1] for key in after.state_dict()}  # each learns something
    assert all(head.nc == 2 for head in after.heads)


@pytest.mark.parametrize("reg_max", [1, 16])
def test_two_sets_learn_one_picture(reg_max: int) -> None:
    """What answers, finds it, though no gradient of its own reaches the features."""
    torch.manual_seed(0)
    model = Darknet(two_sets(reg_max))
    initialize(model.layers, model.heads)
    loss = DetectionLoss(model.heads)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    picture = torch.full((1, 3, *HEIGHT_WIDTH), 0.2)
    picture[..., 12:36, 16:40] = 0.9
    targets = torch.tensor([[0.0, 1, 28 / 64, 0.5, 24 / 64, 0.5]])
    for step in range(80):
        raw = model(picture)
        value = total(loss.at(step / 79)(raw, targets, HEIGHT_WIDTH))
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    heads = zip(model.heads, model(picture), strict=True)
    rows = torch.cat([h.decode(x, HEIGHT_WIDTH) for h, x in heads if h.answers], 1)[0]
    order = rows[:, 6].argsort(descending=True)
    best = rows[order[0]]
    assert iou(xywh_to_xyxy(best[:4]), torch.tensor([16.0, 12, 40, 36])) > 0.7
    assert best[6] > 0.4 and rows[order[1], 6] < 0.5 * best[6]  # once, and not again
    assert all(isinstance(head, Dfl) for head in model.heads)
