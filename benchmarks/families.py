"""Checkpoints through every runtime that takes them: one table of the largest errors.

    python -m benchmarks.families yolo11n.pt yolov8n.pt --img-size 256 320

Each checkpoint of ultralytics is translated, and run on one picture by each runtime that is
installed: PyTorch, OpenCV by the cfg, and by files OpenCV, ONNX Runtime, OpenVINO, ncnn and MNN.
The errors are of decoded boxes and probabilities: largest difference from PyTorch in float64, as a
share of the largest value of its kind. NAME.npz beside NAME.pt with `input` (uint8 H, W, 3) and the
library's own `raw_0`, `raw_1`, ... adds the first column: raw heads against those, as a share too.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from models import Darknet
from utils.command.cli import Parser, add_img_size, img_size, run_main
from utils.command.errors import UserError
from utils.command.optional import missing
from utils.command.table import table
from utils.detection.evaluate import Predict
from utils.network.batch_norm.epsilon import for_epsilon
from utils.network.darknet import Network, names_of
from utils.network.importers import require_opencv
from utils.runtimes.agreement import largest_difference
from utils.runtimes.files import FileOptions, open_file, write_files
from utils.runtimes.needs import needs_of, opencv_reads_cfg
from utils.runtimes.onnx.export import onnx_metadata
from utils.runtimes.opencv import OpenCVDarknet
from utils.runtimes.opencv_onnx import OpenCVOnnx
from utils.runtimes.options import Format, target_files
from utils.translate.translation import translate_checkpoint

FILES: tuple[Format, ...] = ("onnx", "openvino", "ncnn", "mnn")
COLUMNS = ("network", "raw heads", "PyTorch", "OpenCV, cfg", "OpenCV, ONNX", *FILES)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = Parser(__doc__)
    parser.add_argument("checkpoints", nargs="+", help=".pt files of ultralytics")
    add_img_size(parser)
    args = parser.parse_args(argv)
    size = img_size(args.img_size) or (256, 320)
    rows = [COLUMNS]
    for path in tqdm(args.checkpoints, desc="networks"):
        rows.append((Path(path).stem, *measured(Path(path), size)))
        print(table(rows[-1:]))
    print(table(rows))


@torch.no_grad()
def measured(path: Path, size: tuple[int, int]) -> list[str]:
    """A row of the table."""
    found = translate_checkpoint(path, size)
    network = Darknet(found.cfg, weights=found.state).eval()
    truth = path.with_suffix(".npz")
    images, raw = torch.rand(1, network.in_channels, *size), "-"
    if truth.exists():
        images, raw = against_the_library(network, truth, size, images)
    exact: Tensor = copy.deepcopy(network).double()(images.double()).float()

    def error(run: Predict) -> str:
        return f"{largest_difference(run(images), exact):.1e}"

    cells = [raw, error(network), by_cfg(network, error)]
    with tempfile.TemporaryDirectory() as folder:
        for kind in FILES:
            stem = Path(folder) / kind
            if missing(needs_of(kind)):
                cells += ["not installed"] * (1 + (kind == "onnx"))
                continue
            try:
                options = FileOptions(kind, size)
                write_files(network, stem, options, onnx_metadata(network, names_of(network)))
                made = target_files(stem, kind)[0]
                if kind == "onnx":
                    cells.append(error(OpenCVOnnx(made)))
                cells.append(error(open_file(kind, made, network)))
            except UserError as refused:
                cells.append(f"refused: {str(refused)[:60]}")
    return cells


def against_the_library(
    network: Darknet, truth: Path, size: tuple[int, int], images: Tensor
) -> tuple[Tensor, str]:
    """The file's picture, and how far our raw heads are from its own."""
    with np.load(truth, allow_pickle=False) as file:
        kept = {name: file[name] for name in file.files}
    theirs = [kept[name] for name in sorted(kept) if name.startswith("raw_")]
    if not theirs or kept["input"].shape[:2] != size:
        return images, "-"
    picture = torch.from_numpy(kept["input"]).permute(2, 0, 1)[None].float() / 255
    pairs = zip(network.raw_heads(picture), map(torch.from_numpy, theirs), strict=True)
    return picture, f"{max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs):.1e}"


def by_cfg(network: Network, error: Callable[[Predict], str]) -> str:
    """OpenCV 4's importer on the pair, or why it does not take it."""
    if not opencv_reads_cfg():
        return "OpenCV 5"
    try:
        require_opencv(network.rules)
    except UserError:
        return "refused"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.weights"
        fitting = copy.deepcopy(network)
        fitting.load_state(for_epsilon(network.state_dict(), network.rules, "any"))
        fitting.save_weights(path)
        return error(OpenCVDarknet(network.cfg, path))


if __name__ == "__main__":
    run_main(main)
