"""A page about a finished model: from the network at the start to the one that is handed over.

    python report.py --models runs/train/base/best.pt runs/prune/slim/slim.weights \\
        runs/train/slim-tuned/best.pt --data data/my.data --output runs/report/slim

--models names the stages in their order: .pt files, which hold their cfg, weights with a cfg of
their name beside them, or pairs CFG,WEIGHTS. Each is scored on the validation list of --data and
timed, all in turns. report.html in the --output folder holds a table, a picture of mAP against
size, detections of the first and the last model with the labels, and the hashes of all files; it
needs nothing beside it and can be mailed. Without --data nothing is scored and no picture drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from utils.command.cli import run_main
from utils.detection.inputs import require_inputs
from utils.pruning.report.chain_flags import read_options


def main(argv: Sequence[str] | None = None) -> Path:
    """Write the page that the flags ask for; its path."""
    options = read_options(__doc__, argv)
    for model in options.models:
        require_inputs(model.cfg, model.weights, options.scoring.data)
    from models import Darknet  # from here on there is work to do
    from utils.annotations.ready import with_ready_data
    from utils.pruning.report.chain import write_chain

    words = sys.argv[1:] if argv is None else argv
    page = write_chain(with_ready_data(options), Darknet, ["python", "report.py", *words])
    print(f"Wrote {page}")
    return page


if __name__ == "__main__":
    run_main(main)
