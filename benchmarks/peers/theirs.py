"""The peer's side of the rows: run by the interpreter of its own environment, one row a process.

.venv-peers/bin/python benchmarks/peers/theirs.py loader --threads 1 --work runs/peers
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from typing import Any

import cv2
import torch
from measure import Seconds, material, repeated, say, timed
from ultralytics import YOLO
from ultralytics.cfg import get_cfg
from ultralytics.data import build_dataloader, build_yolo_dataset
from ultralytics.data.utils import check_det_dataset
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import torch_utils
from ultralytics.utils.torch_utils import ModelEMA

TARGETS_PER_IMAGE = 8


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("row", choices=(*ROWS, "make"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", required=True)
    parser.add_argument("--img-size", type=int, default=320)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--classes", type=int, default=80)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    # On a CPU it would take one thread less than there are cores.
    torch_utils.NUM_THREADS = args.threads
    torch.manual_seed(0)
    if args.row == "make":
        make(args)
    else:
        ROWS[args.row](args, material(args.work))


def make(args: Any) -> None:
    """A checkpoint of random weights for some classes."""
    model = YOLO("yolov8n.yaml")
    model.model = DetectionModel("yolov8n.yaml", nc=args.classes, verbose=False)
    model.save(f"{args.work}/base.pt")


def loader(args: Any, paths: dict[str, Any]) -> None:
    """Epochs of augmented batches, from the files: the first one, and those after it."""
    cfg = get_cfg(overrides={"imgsz": args.img_size, "batch": args.batch_size, "workers": 0})
    data = check_det_dataset(paths["yaml"])
    images = build_yolo_dataset(cfg, data["train"], args.batch_size, data, mode="train")
    batches = build_dataloader(images, args.batch_size, workers=0, shuffle=True, rank=-1)

    def epoch() -> int:
        return sum(
            len(batch["img"]) for _, batch in zip(range(len(batches)), batches, strict=False)
        )

    say([timed(epoch)], later=[timed(epoch) for _ in range(args.runs)])


def step(args: Any, _: dict[str, Any]) -> None:
    """Forward, loss, backward, clipping, SGD, moving average."""
    model = DetectionModel("yolov8n.yaml", nc=args.classes, verbose=False).train()
    model.args = get_cfg()
    generator = torch.Generator().manual_seed(0)
    count = args.batch_size * TARGETS_PER_IMAGE
    size = 0.1 + 0.4 * torch.rand(count, 2, generator=generator)
    centre = size / 2 + (1 - size) * torch.rand(count, 2, generator=generator)
    batch = {
        "img": torch.rand(args.batch_size, 3, args.img_size, args.img_size),
        "batch_idx": torch.arange(args.batch_size).repeat_interleave(TARGETS_PER_IMAGE).float(),
        "cls": torch.randint(args.classes, (count, 1), generator=generator).float(),
        "bboxes": torch.cat((centre, size), 1),
    }
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    average = ModelEMA(model)

    def train() -> None:
        loss, _ = model(batch)
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=10.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(model)

    say(repeated(train, 2, args.runs))


def epoch(args: Any, paths: dict[str, Any]) -> None:
    """Epochs of its trainer, between its own callbacks; the first one warms up."""
    seconds: list[Seconds] = []
    running: list[Callable[[], Seconds]] = []
    model = YOLO(paths["their_base"])
    model.add_callback("on_train_epoch_start", lambda _: running.append(_clock()))
    model.add_callback("on_train_epoch_end", lambda _: seconds.append(running.pop()()))
    with tempfile.TemporaryDirectory() as folder:
        model.train(
            data=paths["yaml"], epochs=1 + args.runs, imgsz=args.img_size, batch=args.batch_size,
            workers=0, device="cpu", val=False, plots=False, save=False, amp=False,
            optimizer="AdamW", lr0=0.0015, close_mosaic=0, project=folder, verbose=False,
        )  # fmt: skip
    say(seconds[1:])


def _clock() -> Callable[[], Seconds]:
    """A call that tells the time since now."""
    import time

    wall, cpu = time.perf_counter(), time.process_time()
    return lambda: {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def val(args: Any, paths: dict[str, Any]) -> None:
    """Scoring a list of images, from the files, with all that belongs to it."""
    model = YOLO(paths["their_scored"])
    found: list[float] = []

    def score() -> None:
        with tempfile.TemporaryDirectory() as folder:
            metrics = model.val(
                data=paths["scored_yaml"], imgsz=args.img_size, batch=args.batch_size, workers=0,
                device="cpu", rect=False, plots=False, project=folder, verbose=False,
            )  # fmt: skip
        found.append(float(metrics.box.map50))

    say(repeated(score, 1, args.runs), map50=found[-1])


def detect(args: Any, paths: dict[str, Any]) -> None:
    """A folder of pictures: found, drawn, written."""
    model = YOLO(paths["their_scored"])

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            results = model.predict(
                source=paths["pictures"], imgsz=args.img_size, device="cpu", save=True,
                stream=True, project=folder, verbose=False,
            )  # fmt: skip
            for _ in results:
                pass

    say(repeated(run, 1, args.runs))


ROWS: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "loader": loader, "step": step, "epoch": epoch, "val": val, "detect": detect,
}  # fmt: skip

if __name__ == "__main__":
    main()
