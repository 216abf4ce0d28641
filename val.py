"""Score a model on a data set: one row per class, and where the time went.

    python val.py --weights runs/train/my/best.pt --data data/my.data
    python val.py --cfg cfg/my.cfg --weights my.weights --data data/my.data --backend opencv

    --img-size 320 512 scores at another height and width, --save-json found.json keeps detections,
    --plots FOLDER draws curves, confusion matrix, and the first images' labels and detections.
    --fit letterbox and --nms default overrule the cfg, which train.py and the prune scripts go by.

P and R are those at each class's best F1 (IoU .5). mAP is COCO's: 101 points, at most 100
detections per image and class, compared in the original images. Detections count from a very low
confidence on, as mAP needs the whole curve; keep it so, or figures cannot be compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from utils.command.cli import run_main
from utils.command.words.next_step import next_steps
from utils.detection.inputs import model_words, require_inputs
from utils.detection.results import Metrics
from utils.runtimes.val.flags import read_options


def main(argv: Sequence[str] | None = None) -> Metrics:
    """Score as the flags say, print the table and the times, and return the metrics."""
    options = read_options(__doc__, argv)
    require_inputs(options.inputs.cfg, options.inputs.weights, options.scoring.data)
    from models import Darknet  # from here on there is work to do
    from utils.annotations.ready import with_ready_data
    from utils.runtimes.val.run import evaluate_files

    metrics = evaluate_files(with_ready_data(options), Darknet)
    print(metrics.table())
    print(metrics.times())
    if metrics.threshold:
        print(f"F1 is highest, over all classes, at a score of {metrics.threshold}")
        words = [*model_words(options.inputs), "--data", options.scoring.data]
        shown = ["--source", "PICTURES", "--conf-thres", metrics.threshold]
        print(next_steps({"see it on pictures": ["python", "detect.py", *words, *shown]}))
    if options.plots:
        print(f"curves, confusion matrix, labels beside detections: {options.plots}")
    return metrics


if __name__ == "__main__":
    run_main(main)
