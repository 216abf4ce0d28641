"""Checkpoints of all families through everything that darkslim does with them: one table.

    .venv-peers/bin/python benchmarks/peers/fresh.py --output runs/families --run mine.pt
    python -m benchmarks.families --work runs/families --peer .venv-peers/bin/python \\
        --darknet libdarknet.so runs/families/*.pt mine.pt

The first line makes checkpoints of random weights, and what they compute (NAME.npz). Every cell of
the table is run: raw heads on one picture, as the largest difference from the library's own in
float64 (its own float32 beside it, and a network with one rule of the translation broken as a
control, which must stand out); a short training; a prune with its gate; the way back into the
library, whole and pruned. Cells go to families.csv in --work one by one; those that are there are
not run again, so that a run that was broken off goes on.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from utils.command.cli import Parser, run_main
from utils.command.errors import UserError
from utils.command.table import table
from utils.translate.blocks.writer import Answer

from . import through_commands as commands
from . import through_runtimes as runtimes
from .subject import Settings, Subject

COLUMNS: dict[str, Callable[[Subject], str]] = {
    "own float32": runtimes.own_float32,
    "PyTorch here": runtimes.pytorch,
    "control": runtimes.control,
    "Darknet": runtimes.darknet,
    "OpenCV, cfg": runtimes.opencv_by_cfg,
    "OpenCV, ONNX": runtimes.by_onnx(runtimes.opencv),
    "ONNX Runtime": runtimes.by_onnx(runtimes.onnx_runtime),
    "OpenVINO": runtimes.by_onnx(runtimes.openvino),
    "ncnn": runtimes.by_onnx(runtimes.ncnn),
    "MNN": runtimes.by_onnx(runtimes.mnn),
    "train": commands.train,
    "prune": commands.prune,
    "back, whole": commands.back_whole,
    "back, pruned": commands.back_pruned,
}
FIELDS = ("network", "column", "value")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = Parser(__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, help=".pt files of ultralytics")
    parser.add_argument("--work", type=Path, required=True, help="folder of NAME.npz and cells")
    parser.add_argument("--peer", default="", help="an interpreter that has ultralytics")
    parser.add_argument("--darknet", default="", help="AlexeyAB's libdarknet.so")
    parser.add_argument("--only", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    args = parser.parse_args(argv)
    folder = args.work / "files"
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(folder, args.peer, args.darknet)
    kept = args.work / "families.csv"
    cells = read_cells(kept)
    subjects = [each for path in args.checkpoints for each in sets_of(path, args.work, settings)]
    wanted = [(subject, column) for subject in subjects for column in args.only]
    for subject, column in tqdm(wanted, desc="cells"):
        if not cells.get((subject.name, column)):
            cells[subject.name, column] = value = value_of(subject, column)
            append_cell(kept, subject.name, column, value)
    print_all([subject.name for subject in subjects], cells)


def sets_of(path: Path, work: Path, settings: Settings) -> list[Subject]:
    """A subject of each set of branches that the checkpoint has."""
    answers: tuple[Answer, ...] = ("one2many", "one2one")
    found = [Subject(path, work / f"{path.stem}.npz", answer, settings) for answer in answers]
    return [subject for subject in found if subject.exact]


def value_of(subject: Subject, column: str) -> str:
    """The cell; why there is none where something refuses it."""
    try:
        return COLUMNS[column](subject)
    except UserError as refused:
        return f"refused: {refused}"


def read_cells(path: Path) -> dict[tuple[str, str], str]:
    """Those that are done."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {(row["network"], row["column"]): row["value"] for row in csv.DictReader(file)}


def append_cell(path: Path, network: str, column: str, value: str) -> None:
    """One more row."""
    fresh = not path.is_file()
    with path.open("a", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        if fresh:
            rows.writerow(FIELDS)
        rows.writerow((network, column, value))


def print_all(names: Sequence[str], cells: dict[tuple[str, str], str]) -> None:
    """The table; long reasons stay in the file."""
    head = ("network", *COLUMNS)
    rows = [(name, *(cells.get((name, column), "")[:34] for column in COLUMNS)) for name in names]
    print(table([head, *rows]))


if __name__ == "__main__":
    run_main(main)
