"""How fast, how large and how good each model is in each runtime.

    python compare.py --models runs/train/base/best.pt runs/train/tuned/best.pt --data data/my.data
    python compare.py --models cfg/my.cfg,best.weights --data my.data --runtimes onnx,onnx-int8

--models takes .pt files, which hold their cfg, or pairs CFG,WEIGHTS; weights that runs call alike
are named by their run. For each model and each runtime a fresh process loads the model, runs one
image over and over, and scores it on the validation list: parameters, MACs, file size, peak memory,
latency of the forward pass alone (median and 95th percentile, warm, the same input), processor
time, mAP. ONNX, OpenVINO and ncnn files are made on the way; -int8 calibrates on training images of
--data. What is not installed is said and left out. --output keeps the table as CSV and as a page
and, with --data, a picture of mAP against latency and against the size of the files.

Models are timed in turns. Latency needs a quiet machine all the same: where others work too,
--threads 1 and the processor time (CPU ms, which the picture shows) say what a pass would take
without them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from utils.command.cli import run_main
from utils.detection.inputs import require_inputs
from utils.runtimes.compare.flags import read_options
from utils.runtimes.compare.results import Row, results_table, verdict


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Compare as the flags say; returns the rows of the table that it prints."""
    options = read_options(__doc__, argv)
    for model in options.models:
        require_inputs(model.cfg, model.weights, options.data)
    from models import Darknet  # from here on there is work to do
    from utils.annotations.ready import with_ready_data
    from utils.runtimes.compare.run import compare_models

    words = ["python", "compare.py", *(sys.argv[1:] if argv is None else argv)]
    rows = compare_models(with_ready_data(options), Darknet, words)
    print(results_table(rows))
    print(verdict(rows), end="\n" if verdict(rows) else "")
    if options.output:
        print(f"Kept: {options.output}")
    return rows


if __name__ == "__main__":
    run_main(main)
