"""utils/detection/evaluate.py and val.py on small images, with predictors whose score is known."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

import val
from models import Darknet
from utils.cfg import parse_cfg
from utils.command.errors import UserError
from utils.command.machine.timing import time_forward_ms
from utils.data.dataset import DetectionDataset
from utils.data.loader import Batch, Loader, make_loader
from utils.data.options import Fit
from utils.detection.evaluate import EvalOptions, Predict, collect, evaluate, joined, measure
from utils.detection.results import Metrics, Seconds
from utils.runtimes.val.run import write_json

NC = 3
NAMES = ("apple", "pear", "plum")
NET_HW = (64, 96)

CFG = """[net]
width=64
height=64
channels=3
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
filters=16
size=1
activation=linear
[yolo]
mask=0,1
anchors=12,16, 30,30
classes=3
num=2
"""


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 7 images of different shapes; the third has no objects, no image has plums."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for number in range(7):
        height, width = int(rng.integers(40, 200)), int(rng.integers(40, 200))
        pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"images/{number}.png"), pixels)
        lines.append(f"images/{number}.png\n")
        count = 0 if number == 2 else 4
        size = rng.uniform(0.2, 0.4, (count, 2))
        centre = np.array([[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]])[:count]
        rows = np.hstack((rng.integers(0, 2, (count, 1)), centre, size))
        np.savetxt(folder / f"labels/{number}.txt", rows, fmt="%d %.6f %.6f %.6f %.6f")
    (folder / "valid.txt").write_text("".join(lines))
    (folder / "my.names").write_text("\n".join(NAMES) + "\n")
    (folder / "my.data").write_text(f"classes={NC}\nvalid=valid.txt\nnames=my.names\n")
    return folder / "my.data"


def loader_of(data_file: Path, fit: Fit = "letterbox") -> Loader:
    """Batches of three, in order."""
    return make_loader(DetectionDataset(data_file.parent / "valid.txt", NC, NET_HW, fit=fit), 3)


def oracle(loader: Loader, noise_px: float = 0.0, seed: int = 0) -> Predict:
    """A predictor that gives each batch's own labels, moved at random, and some false ones."""
    rng = np.random.default_rng(seed)
    answers: Iterator[Tensor] = iter(
        [_answer(b.targets, len(b.images), noise_px, rng) for b in loader]
    )

    def predict(images: Tensor) -> Tensor:
        answer = next(answers)
        assert len(answer) == len(images) and images.dtype == torch.float32
        assert images.min() >= 0 and images.max() <= 1
        return answer

    return predict


def _answer(targets: Tensor, images: int, noise_px: float, rng: np.random.Generator) -> Tensor:
    answer = torch.zeros(images, 8, 5 + NC)
    answer[:, 4:, :4] = torch.tensor([30.0, 30, 20, 20])
    answer[:, 4:, 4] = 0.3 if noise_px else 0.0
    answer[:, 4:, 5] = 1
    for image in range(images):
        rows = targets[targets[:, 0] == image]
        xywh = rows[:, 2:] * torch.tensor([NET_HW[1], NET_HW[0]] * 2)
        noise = torch.tensor(rng.normal(0, noise_px, xywh.shape))
        answer[image, : len(rows), :4] = xywh + noise
        answer[image, : len(rows), 4] = torch.tensor(rng.uniform(0.2, 1, len(rows)))
        answer[image, torch.arange(len(rows)), 5 + rows[:, 1].long()] = 0.9
    return answer


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_perfect_boxes_score_one_in_the_original_images(data_file: Path, fit: Fit) -> None:
    loader = loader_of(data_file, fit)
    metrics = evaluate(oracle(loader), loader, NC, NAMES, progress=False)
    assert (metrics.map50, metrics.map) == pytest.approx((1, 1))
    assert (metrics.precision, metrics.recall, metrics.f1) == pytest.approx((1, 1, 1))
    assert (metrics.images, metrics.targets) == (7, 24)
    assert [row.name for row in metrics.per_class] == list(NAMES)
    assert sum(row.targets for row in metrics.per_class) == 24
    assert np.isnan(metrics.per_class[2].map)
    # The other fit's boxes, mapped back by this one's geometry, must not fit.
    other = oracle(loader_of(data_file, "stretch" if fit == "letterbox" else "letterbox"))
    assert evaluate(other, loader, NC, NAMES, progress=False).map < 0.7


def test_equals_pycocotools_on_the_json(data_file: Path, tmp_path: Path) -> None:
    loader = loader_of(data_file)
    collected = collect(oracle(loader, noise_px=3), loader, NC, EvalOptions(), progress=False)
    metrics = measure(collected, NC, NAMES)
    write_json(tmp_path / "found.json", collected, loader.dataset)
    stats = coco_stats(loader.dataset, json.loads((tmp_path / "found.json").read_text()))
    assert 0.1 < metrics.map < 0.9
    assert (metrics.map, metrics.map50) == pytest.approx(tuple(stats[:2]), abs=1e-6)


def coco_stats(dataset: DetectionDataset, found: list[dict[str, object]]) -> list[float]:
    """COCOeval's summary (mAP, mAP@.5, ...) against the label files."""
    annotations = []
    for sample in dataset.samples:
        height, width = sample.image_hw
        for label, xc, yc, w, h in sample.labels.astype(np.float64):
            box = [(xc - w / 2) * width, (yc - h / 2) * height, w * width, h * height]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": int(sample.path.stem), "bbox": box,
                 "category_id": int(label), "area": box[2] * box[3], "iscrowd": 0}
            )  # fmt: skip
    truth = COCO()
    truth.dataset = {
        "images": [{"id": int(sample.path.stem)} for sample in dataset.samples],
        "categories": [{"id": label} for label in range(NC)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return list(run.stats)


def test_joined_parts_took_as_long_as_the_slowest(data_file: Path) -> None:
    """Processes work at the same time: the whole takes the slowest one's seconds, first or not."""
    loader = loader_of(data_file)
    own = collect(oracle(loader), loader, NC, EvalOptions(), progress=False)
    quick, slow = (
        replace(own, seconds=Seconds(data=s, forward=2 * s, nms=3 * s, metrics=0.0))
        for s in (1.0, 5.0)
    )
    for parts in ((quick, slow), (slow, quick), (quick, slow, quick)):
        whole = joined(parts)
        assert whole.seconds == slow.seconds
        assert whole.images == len(parts) * own.images
        assert len(whole.targets.label) == len(parts) * len(own.targets.label)


def test_wrong_outputs_are_refused(data_file: Path) -> None:
    loader = loader_of(data_file)
    with pytest.raises(ValueError, match="eval mode"):
        evaluate(lambda x: [x], loader, NC, NAMES, progress=False)  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="3 classes"):
        evaluate(lambda x: torch.zeros(len(x), 5, 7), loader, NC, NAMES, progress=False)


def test_table_and_times(data_file: Path) -> None:
    loader = loader_of(data_file)
    metrics = evaluate(oracle(loader), loader, NC, NAMES, progress=False)
    table = metrics.table()
    assert "mAP@.5:.95" in table and "apple" in table and "plum" not in table
    assert "apple" not in metrics.table(every_class=False)
    assert np.isnan(metrics.per_class[2].map50) and metrics.map50 == pytest.approx(1)
    seconds = dataclasses.asdict(metrics.seconds)
    assert min(seconds.values()) >= 0 and seconds["forward"] > 0
    assert f"forward {1e3 * seconds['forward'] / 7:.2f}" in metrics.times()


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small random model: cfg and weights."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "tiny.cfg").write_text(CFG)
    torch.manual_seed(0)
    model = Darknet(folder / "tiny.cfg")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    model.save_weights(folder / "tiny.weights")
    return folder / "tiny.cfg", folder / "tiny.weights"


def run_val(data_file: Path, model_files: tuple[Path, Path], *flags: str) -> Metrics:
    cfg, weights = map(str, model_files)
    fixed = ["--cfg", cfg, "--weights", weights, "--data", str(data_file), "--workers", "0"]
    return val.main([*fixed, *flags])


def test_val_runs_with_both_backends(
    data_file: Path,
    model_files: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = tmp_path / "found.json"
    ours = run_val(data_file, model_files, "--save-json", str(found), "--batch-size", "4")
    out = capsys.readouterr().out
    assert "mAP@.5:.95" in out and "forward" in out
    assert len(json.loads(found.read_text())) > 100
    theirs = run_val(data_file, model_files, "--backend", "opencv", "--batch-size", "2")
    assert theirs.map50 == pytest.approx(ours.map50, abs=1e-3)
    assert theirs.targets == ours.targets == 24
    wide = run_val(data_file, model_files, "--img-size", "64", "128", "--fit", "stretch")
    assert wide.images == 7 and wide.map50 != ours.map50
    halved = run_val(data_file, model_files, "--amp", "bf16", "--device", "cpu")
    assert halved.map50 == pytest.approx(ours.map50, abs=0.05)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--task", "train"), "train="),
        (("--half", "--device", "cpu"), "GPU"),
        (("--backend", "opencv", "--amp", "bf16"), "float32"),
        (("--save-json", "no/such/folder/x.json"), "does not exist"),
    ],
)
def test_val_says_what_is_wrong(
    data_file: Path, model_files: tuple[Path, Path], flags: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run_val(data_file, model_files, *flags)


def test_val_refuses_another_number_of_classes(
    data_file: Path, model_files: tuple[Path, Path], tmp_path: Path
) -> None:
    valid = data_file.parent / "valid.txt"
    (tmp_path / "one.data").write_text(f"classes=1\nvalid={valid}\n")
    with pytest.raises(UserError, match=r"has 1 classes.*made for 3"):
        run_val(tmp_path / "one.data", model_files)


def test_latency_leaves_the_warm_up_out() -> None:
    calls: list[int] = []
    latency = time_forward_ms(lambda: calls.append(1), runs=9, warmup=4)
    assert len(calls) == 13
    assert 0 <= latency.p10_ms <= latency.median_ms <= latency.p90_ms
    with pytest.raises(ValueError, match="runs"):
        time_forward_ms(lambda: None, runs=0)


def test_val_draws_into_a_new_folder(
    data_file: Path, model_files: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "plots"
    plain = run_val(data_file, model_files)
    drawn = run_val(data_file, model_files, "--plots", str(folder))
    assert (drawn.map50, drawn.best_conf) == (plain.map50, plain.best_conf)
    assert {"PR_curve.png", "confusion_matrix.png", "val_batch0_pred.jpg"} <= {
        path.name for path in folder.iterdir()
    }
    with pytest.raises(UserError, match=r"--plots .*: holds other files"):
        run_val(data_file, model_files, "--plots", str(folder))


def test_what_goes_on_beside_the_forward_pass_changes_nothing(data_file: Path) -> None:
    """A loader without workers is read in a thread, what it has loaded before is not."""
    loader = loader_of(data_file)

    class Held:
        dataset = loader.dataset

        def __iter__(self) -> Iterator[Batch]:
            return iter(held)

        def __len__(self) -> int:
            return len(held)

    held = list(loader)
    network = Darknet(parse_cfg(CFG, "small.cfg"), NET_HW).eval()
    options = EvalOptions(conf_thres=0.0)
    first = collect(network, loader, NC, options, progress=False)
    second = collect(network, Held(), NC, options, progress=False)
    assert len(first.detections.score) > 0
    for part in ("detections", "targets"):
        for name in ("image", "label", "xyxy", "score"):
            ours, theirs = (getattr(getattr(one, part), name) for one in (first, second))
            assert np.array_equal(ours, theirs)
    # Negative control: other batches, other detections.
    held.reverse()
    other = collect(network, Held(), NC, options, progress=False)
    assert not np.array_equal(first.detections.image, other.detections.image)


def test_an_error_beside_the_forward_pass_is_told(data_file: Path) -> None:
    loader = loader_of(data_file)
    with pytest.raises(ValueError, match="expected"):
        collect(lambda images: torch.zeros(len(images), 5, 3), loader, NC, EvalOptions(), False)
