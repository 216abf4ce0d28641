"""How fast, how large and how good each model is in each runtime.

    python compare.py --models cfg/my.cfg,dense.pt cfg/prune_my.cfg,pruned.pt --data data/my.data
    python compare.py --models cfg/my.cfg,best.pt --data data/my.data --runtimes onnx,onnx-int8

--models takes pairs CFG,WEIGHTS; the weights' names tell the models apart. For each pair and each
runtime a fresh process loads the model, runs one image over and over, and scores it on the
validation list: parameters, MACs, file size, peak memory, latency of the forward pass alone (median
and 95th percentile, warm, the same input), processor time, mAP. ONNX, OpenVINO and ncnn files are
made on the way; -int8 calibrates on training images of --data. What is not installed is said and
left out. --output keeps the table as CSV and, with --data, a picture of mAP against latency.

Latency needs a quiet machine. Where others work too, --threads 1 and the processor time (CPU ms;
--clock cpu for the picture) say what a pass would take without them.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from models import Darknet
from utils.command.cli import Parser, add_img_size, img_size, positive_int, run_main
from utils.command.errors import UserError
from utils.command.folders import whole_folder
from utils.command.progress import progress_bar
from utils.data.darknet_files import load_data_file
from utils.runtimes.compare.measure import Task
from utils.runtimes.compare.table import (
    RUNTIMES,
    Candidate,
    Clock,
    Row,
    candidate,
    csv_text,
    installed,
    measured_rows,
    table,
)


def build_parser() -> Parser:
    """The command's flags."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--models", nargs="+", required=True, metavar="CFG,WEIGHTS", help="what to compare")
    add("--data", help=".data file to score on; left out, nothing is scored")
    add("--runtimes", default="torch,opencv,onnx,openvino,ncnn", help=f"of {', '.join(RUNTIMES)}")
    add("--threads", type=positive_int, default=torch.get_num_threads(), help="CPU threads of each")
    add("--runs", type=positive_int, default=50, help="forward passes that are timed")
    add("--calibration-images", type=positive_int, default=100, metavar="N", help="for int8")
    add("--output", metavar="FOLDER", help="keep compare.csv and compare.png in this new folder")
    add("--clock", choices=("wall", "cpu"), default="wall", help="time that the picture shows")
    add_img_size(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Run the command and return what it prints."""
    args = build_parser().parse_args(argv)
    wanted = [name.strip() for name in args.runtimes.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in RUNTIMES]
    if unknown or not wanted:
        raise UserError(f"--runtimes {args.runtimes}: choose of {', '.join(RUNTIMES)}")
    usable, absent = installed(wanted)
    print("\n".join(absent), end="\n" if absent else "")
    if not usable:
        raise UserError(f"--runtimes {args.runtimes}: none of them is installed")
    chosen = candidates(args.models, img_size(args.img_size), args.data)
    common = Task("", "", "", "", "", args.data, (0, 0), args.threads, args.runs)
    rows: list[Row] = []
    for model in progress_bar(chosen, "comparing", "model"):
        with tempfile.TemporaryDirectory() as name:
            images = args.calibration_images
            for row in measured_rows(Darknet, model, usable, Path(name), common, images):
                rows.append(row)
                tqdm.write(said(row), file=sys.stderr)
    print(table(rows))
    if args.output:
        keep(rows, args.output, args.clock)
    return rows


def said(row: Row) -> str:
    """A line about a measurement, as soon as it is there."""
    found = row.result
    if isinstance(found, str):
        return f"{row.candidate.name} in {row.runtime}: {found}"
    score = "" if found.map50 is None else f", mAP@.5 {found.map50:.4f}"
    return f"{row.candidate.name} in {row.runtime}: {found.median_ms:.2f} ms{score}"


def candidates(
    pairs: Sequence[str], size: tuple[int, int] | None, data: str | None
) -> list[Candidate]:
    """The models. Raises UserError when two have one name, or other classes than the data."""
    found = [candidate(Darknet, pair, size) for pair in pairs]
    names = [model.name for model in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"--models: two weights are called {twice}; rename one")
    nc = load_data_file(data).nc if data else None
    for model in found:
        own = Darknet(model.cfg).nc
        if nc is not None and own != nc:
            raise UserError(f"{data}: has {nc} classes, but {model.cfg} is made for {own}")
    return found


def keep(rows: Sequence[Row], output: str, clock: Clock) -> None:
    """Write compare.csv and, where something was scored, compare.png."""
    from utils.pictures.charts import save_png  # matplotlib takes a second to load
    from utils.runtimes.compare.chart import comparison_chart

    with whole_folder(output, "--output") as folder:
        (folder / "compare.csv").write_text(csv_text(rows), encoding="utf-8")
        figure = comparison_chart(rows, clock)
        if figure is not None:
            save_png(figure, folder / "compare.png")
    print(f"Kept: {output}")


if __name__ == "__main__":
    run_main(main)
