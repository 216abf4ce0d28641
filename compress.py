"""Make a trained detector smaller: one command that ranks, pulls, cuts, finetunes and proves.

    python compress.py --weights runs/train/base/best.pt --data my-photos --keep-params 0.25
    python compress.py --weights best.pt --data my.data --keep-macs 30% --export onnx
    python compress.py --weights best.pt --data my.data --max-map-drop 0.01   # as small as holds
    python compress.py --weights yolov8n.pt --data data.yaml --keep-params 0.4   # of ultralytics
    python compress.py --resume runs/compress/best

Name one or several goals, which must all hold. Everything else is decided here, by what cuts would
leave on a development share of the training images: which channels go, whether to empty them by
training first, and how the epochs are split. The network as it is teaches the smaller one. The
validation list is looked at once, for the last figures.

The output folder holds NAME.cfg and NAME.weights, which Darknet and OpenCV load as they are; the
--export files; recipe.yaml: every decision, and the single commands that give the same weights; and
report/report.html. Killed at any moment, --resume goes on and ends with the same weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import slim_prune
from train import STRATEGIES
from utils.chains.compress.flags import read_flags, saved_options
from utils.chains.compress.options import CompressOptions
from utils.chains.journal import Journal
from utils.command.cli import run_main
from utils.command.errors import UserError
from utils.command.folders import first_free
from utils.command.optional import require
from utils.command.words.short_names import run_name
from utils.detection.inputs import require_data, require_inputs
from utils.network.cfg_of import is_ultralytics
from utils.pruning.goals.table_file import read_table_file
from utils.runtimes.needs import needs_of
from utils.training.flags import make_parser

COMMAND = "compress.py"  # whose journals these are
RUNS = Path("runs/compress")


def main(argv: Sequence[str] | None = None) -> object:
    """Compress as the flags say; returns the pair that is handed over. Raises UserError."""
    run = read_flags(__doc__, argv)
    if run.options is None:
        journal = Journal.load(run.resume, "--resume", COMMAND)
        options = replace(saved_options(journal.content["args"]), dry_run=False)
    else:
        options = run.options
        require_sound(options)
        output = run.output or first_free(RUNS / run_name(options.inputs.weights))
        journal = Journal.start(output, "--output", COMMAND, run.typed)
    import train
    from models import Darknet  # heavy, and needed from here on
    from utils.annotations.ready import ready_data
    from utils.chains.compress.run import compress
    from utils.chains.compress.stages import Tools

    options = replace(options, data=ready_data(options.data))
    try:
        return compress(options, journal, Tools(Darknet, train.main, slim_prune.STRATEGY))
    except KeyboardInterrupt:
        print(f"\ninterrupted; to go on: python {COMMAND} --resume {journal.folder}")
        raise KeyboardInterrupt("said") from None
    except UserError:
        if run.options is not None and not journal.content.get("commands"):
            shutil.rmtree(journal.folder)  # made above, and nothing in it is worth keeping
        raise


def require_sound(options: CompressOptions) -> None:
    """Find mistakes now and not after hours. Raises UserError."""
    inputs = options.inputs
    if is_ultralytics(inputs.weights) and inputs.cfg == inputs.weights:
        require_data(options.data)  # it is translated as the first thing
    else:
        require_inputs(inputs.cfg, inputs.weights, options.data)
    if options.teacher:
        require_inputs(options.teacher.cfg, options.teacher.weights)
    if options.search:
        require(("optuna",), "--search")
    for runtime in options.needs:
        require(needs_of(runtime), f"--runtime or --export {runtime}")
    if options.goals.latency_table:
        read_table_file(options.goals.latency_table)
    make_parser(None, tuple(STRATEGIES)).parse_args(list(options.train_flags))


if __name__ == "__main__":
    run_main(main)
