"""The whole line on the embedded data set: train, sparse training, slim, finetune, run in OpenCV.

    python demo.py                 # or: make demo
    python demo.py --output runs/my-demo --seed 1

It draws a data set, runs the commands that it prints (the same that you would run on your own
data), compares OpenCV's detections with PyTorch's, and ends with a table and a picture of
detections before and after. All files lie in --output; the training runs in runs/train.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from terminaltables import AsciiTable

from models import Darknet, convert
from utils.command.cli import Parser, run_main
from utils.command.errors import UserError
from utils.command.files import atomic_write
from utils.command.timing import time_forward_ms
from utils.data.darknet_files import load_data_file
from utils.data.dataset import DetectionDataset
from utils.data.images import read_image
from utils.data.loader import make_loader
from utils.detection.as_the_cfg_says import chosen_fit
from utils.detection.evaluate import Metrics, Predict, evaluate
from utils.detection.nms import nms
from utils.detection.options import NmsKind
from utils.network.cost import count_macs, count_parameters, file_bytes
from utils.pictures.detections import Picture, draw_detections
from utils.runtimes.opencv import OpenCVDarknet

ROOT = Path(__file__).resolve().parent
TARGET = 0.28  # the share of the parameters that may stay
# The drawn objects are simple, and the training is short.
MILD_AUGMENTATION = "--mosaic 0 --scale 0.2 --translate 0.1 --hsv_s 0.3 --hsv_v 0.2 --cls-gain 1.5"
# SGD, as AdamW would divide the pull on the gammas by the size of their gradients. The upper 30%
# of them are spared, so that the network goes on working while the others vanish.
SPARSE = (
    "--optimizer sgd --lr0 0.02 -sr --s 0.018 --strategy slim_prune "
    "--sparsity-schedule local-decay --decay-at 0 --keep-percent 0.7"
)
SHOWN_CONF = 0.4
SHOWN_IMAGES = 4


@dataclass(frozen=True)
class Stage:
    """A model of the line: its name, and the files that a runtime takes."""

    name: str
    cfg: Path
    weights: Path

    @property
    def checkpoint(self) -> Path:
        """What training goes on from."""
        return self.weights.with_suffix(".pt")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the line. Raises UserError when a step fails."""
    parser = Parser(__doc__)
    parser.add_argument("--output", default="runs/demo", help="folder for everything it writes")
    parser.add_argument("--seed", type=int, default=0, help="of data, weights and augmentation")
    parser.add_argument("--images", type=int, default=400, help="images to draw")
    args = parser.parse_args(argv)
    start = time.perf_counter()
    folder = _new_folder(Path(args.output))
    shapes = folder / "shapes"
    _step("draw a data set")
    _python(
        f"data/shapes.py --output {shapes} --images {args.images} --seed {args.seed} --img_size 160"
    )
    base, sparse, slim, tuned = _train_and_slim(folder, shapes / "shapes.data", args.seed)
    _step("compare: PyTorch and OpenCV")
    rows = [_measure(stage, shapes / "shapes.data") for stage in (base, sparse, slim, tuned)]
    _picture(folder / "before_after.png", base, tuned, shapes / "shapes.data")
    print(_table(rows))
    print(_verdict(rows[0], rows[-1], time.perf_counter() - start))
    print(f"Picture: {folder / 'before_after.png'}\nPruned model: {tuned.cfg} {tuned.weights}")


def _train_and_slim(folder: Path, data: Path, seed: int) -> tuple[Stage, Stage, Stage, Stage]:
    """The four models of the line; the commands are printed as they run."""
    cfg = folder / "demo.cfg"
    shutil.copyfile(ROOT / "cfg" / "demo.cfg", cfg)
    common = f"--data {data} {MILD_AUGMENTATION} --notest --cache-images --seed {seed}"
    _step("train")
    base = _trained("base", folder, cfg, f"--epochs 30 --lr0 0.002 {common}")
    _step("train sparsely: L1 on the batch normalisation's gammas")
    sparse = _trained(
        "sparse", folder, cfg, f"--weights {base.checkpoint} --epochs 25 {SPARSE} {common}"
    )
    _step("slim: remove the channels with the smallest gammas")
    _python(
        f"slim_prune.py --cfg {cfg} --weights {sparse.checkpoint} --data {data} "
        f"--target-params {TARGET} --layer_keep 0.05"
    )
    prefix = f"prune_params{TARGET}_keep_0.05_"
    slim = Stage("slimmed", folder / f"{prefix}demo.cfg", folder / f"{prefix}sparse.weights")
    _step("finetune")
    tuned = _trained(
        "finetuned", folder, slim.cfg, f"--weights {slim.weights} --epochs 30 --lr0 0.002 {common}"
    )
    return base, sparse, slim, tuned


def _trained(name: str, folder: Path, cfg: Path, flags: str) -> Stage:
    """Run train.py; leave folder/NAME.pt, and folder/NAME.weights for any runtime."""
    run = f"{folder.name}-{name}"
    before = set((ROOT / "runs" / "train").glob(f"{run}*"))
    _python(f"train.py --cfg {cfg} {flags} --name {run}")
    (made,) = set((ROOT / "runs" / "train").glob(f"{run}*")) - before
    stage = Stage(name, cfg, folder / f"{name}.weights")
    shutil.copyfile(made / "last.pt", stage.checkpoint)
    convert(cfg, stage.checkpoint, bn_epsilon="any").replace(stage.weights)
    return stage


def _new_folder(path: Path) -> Path:
    """A fresh folder: PATH, or PATH-2, PATH-3, ... if there is one already."""
    for number in range(1, 1000):
        candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
        if not candidate.exists():
            candidate.mkdir(parents=True)
            return candidate
    raise UserError(f"{path}: exists a thousand times over; name another with --output")


def _step(title: str) -> None:
    print(f"\n== {title}", flush=True)


def _python(command: str) -> None:
    """Run a command of this repository, shown as a user would type it."""
    print(f"$ python {command}", flush=True)
    done = subprocess.run([sys.executable, *shlex.split(command)], cwd=ROOT, check=False)
    if done.returncode:
        raise UserError(f"'python {command}' ended with code {done.returncode}; see above")


@dataclass(frozen=True)
class Row:
    """One line of the closing table."""

    stage: Stage
    torch: Metrics
    opencv: Metrics
    parameters: int
    macs: int
    file_bytes: int
    opencv_ms: float
    head_difference: float


def _measure(stage: Stage, data: Path) -> Row:
    model = Darknet(stage.cfg, weights=stage.weights).eval()
    fused = Darknet(stage.cfg, weights=stage.weights).eval().fuse()
    opencv = OpenCVDarknet(stage.cfg, stage.weights)
    image = torch.rand(1, 3, *model.img_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = model.raw_heads(image)
    theirs = opencv.head_outputs(image)
    difference = max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
    return Row(
        stage,
        _score(fused, data, model),
        _score(opencv, data, model),
        count_parameters(model.rules),
        count_macs(model.rules),
        file_bytes(model.rules),
        time_forward_ms(lambda: opencv(image)).median_ms,
        difference,
    )


def _score(predict: Predict, data: Path, model: Darknet) -> Metrics:
    spec = load_data_file(data)
    fit = chosen_fit("cfg", model.cfg)
    dataset = DetectionDataset(spec.require("valid"), spec.nc, model.img_size, fit=fit)
    loader = make_loader(dataset, 16)
    kind = NmsKind.of_head(model.heads[-1].section)
    return evaluate(predict, loader, spec.nc, spec.names, nms_kind=kind, progress=False)


def _table(rows: Sequence[Row]) -> str:
    heads = [
        "model", "mAP@.5 (PyTorch)", "mAP@.5 (OpenCV)", "mAP@.5:.95", "parameters", "MMACs",
        "file KB", "OpenCV ms", "largest head difference",
    ]  # fmt: skip
    lines = [heads]
    lines += [
        [
            row.stage.name,
            f"{row.torch.map50:.4f}",
            f"{row.opencv.map50:.4f}",
            f"{row.torch.map:.4f}",
            f"{row.parameters:,}",
            f"{row.macs / 1e6:.1f}",
            f"{row.file_bytes / 1e3:.0f}",
            f"{row.opencv_ms:.2f}",
            f"{row.head_difference:.1e}",
        ]
        for row in rows
    ]
    table = AsciiTable(lines)
    table.justify_columns = dict.fromkeys(range(1, len(heads)), "right")
    return str(table.table)


def _verdict(base: Row, tuned: Row, seconds: float) -> str:
    gone = 1 - tuned.parameters / base.parameters
    lost = base.torch.map50 - tuned.torch.map50
    return (
        f"{gone:.1%} of the parameters are gone, mAP@.5 changed by {-lost:+.4f}, "
        f"OpenCV runs it {base.opencv_ms / tuned.opencv_ms:.1f} times as fast "
        f"({seconds / 60:.1f} minutes in all)"
    )


def _picture(path: Path, base: Stage, tuned: Stage, data: Path) -> None:
    """Validation images with OpenCV's detections: above before, below after pruning."""
    spec = load_data_file(data)
    size = Darknet(base.cfg).img_size
    samples = DetectionDataset(spec.require("valid"), spec.nc, size).samples
    chosen = [s for s in samples if len(s.labels) >= 3][:SHOWN_IMAGES]
    rows = [
        np.hstack(
            [
                _detected(OpenCVDarknet(stage.cfg, stage.weights), s.path, size, spec.names)
                for s in chosen
            ]
        )
        for stage in (base, tuned)
    ]
    with atomic_write(path) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def _detected(
    opencv: OpenCVDarknet, path: Path, size: tuple[int, int], names: Sequence[str]
) -> Picture:
    """One image, enlarged for reading, with its detections."""
    image = np.asarray(cv2.resize(read_image(path), size[::-1]), np.uint8)
    x = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0).float() / 255
    (found,) = nms(opencv(x), SHOWN_CONF, 0.45, multi_label=False)
    factor = 2
    rows = found.numpy().copy()
    rows[:, :4] *= factor
    large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return draw_detections(np.asarray(large, np.uint8), rows, names)


if __name__ == "__main__":
    run_main(main)
