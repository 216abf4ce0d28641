"""What a run says when it is over, or is cut off: what was saved, and the commands that go on."""

from __future__ import annotations

from pathlib import Path

from ..command.words.next_step import Words, next_steps
from ..detection.results import Metrics
from ..network.channel_links import plan_path
from .checkpoint import Progress
from .options import TrainOptions
from .parts import Run
from .run_folder import RUNS, RunFolder

# In the order of a reader's interest; TensorBoard's events and args.json speak for themselves.
_FILES = {
    "best.pt": "weights of the best epoch",
    "last.pt": "the last epoch: to go on from (--resume); after sparse training, the one to prune",
    "results.csv results.png": "losses and scores, epoch by epoch",
    "PR_curve.png P_curve.png R_curve.png F1_curve.png confusion_matrix.png": "what best.pt finds",
    "val_batch0_labels.jpg val_batch0_pred.jpg": "validation images: their labels, what is found",
    "labels.jpg": "classes, places and sizes of the training labels",
    "train_batch0.jpg train_batch1.jpg train_batch2.jpg": "images as they are trained on",
    "train.log args.json": "what this run said, and how it was started",
}
_LISTED_CLASSES = 20
_DROP = 0.03  # of mAP@.5, that a first prune may cost
_KEEP = 0.25  # of the parameters: a first goal


def interrupted(run: Run, progress: Progress) -> str:
    """What is saved of a run that is cut off, and the command that goes on with it."""
    last = run.folder.last
    if progress.saved < 0:
        return f"nothing is saved yet: {last} is written after the last epoch (--nosave)"
    steps = next_steps({"go on with it": resume_command(run.folder, run.ranks.world)})
    if progress.saved == 0:
        return f"no epoch is saved yet, {last} holds the start.\n{steps}"
    return f"epoch {progress.saved} of {run.options.epochs} is saved in {last}.\n{steps}"


def resume_command(folder: RunFolder, processes: int) -> Words:
    """The words of the command that goes on with a run."""
    several = ["torchrun", f"--nproc_per_node={processes}", "--"]
    start = several if processes > 1 else ["python"]
    in_place = folder.path.parent == RUNS
    which = ["--resume", "--name", folder.path.name] if in_place else ["--resume", folder.path]
    return [*start, "train.py", *which]


def files(folder: RunFolder) -> str:
    """What lies in the folder of a run that is over."""
    there = {path.name for path in folder.path.iterdir()}
    lines = [f"{folder.path} holds:"]
    for names, what in _FILES.items():
        found = [name for name in names.split() if name in there]
        if found:
            lines.append(f"  {', '.join(found)}: {what}")
    return "\n".join(lines)


def best_scores(found: Metrics) -> str:
    """What best.pt is worth: a row for each class, unless there are many, and its threshold."""
    lines = [found.table()] if 1 < len(found.per_class) <= _LISTED_CLASSES else []
    if found.threshold:
        lines.append(f"F1 is highest at a score of {found.threshold}: a threshold for use")
    return "\n".join(("best.pt:", *lines)) if lines else "best.pt finds nothing yet"


def _page(options: TrainOptions, folder: RunFolder, size: Words) -> Words:
    cfg, weights = options.teacher.cfg, options.teacher.weights
    teacher = weights if cfg in ("", weights) else f"{cfg},{weights}"
    where: Words = ["--output", Path("runs/report") / folder.path.name]
    models: Words = ["--models", teacher, folder.best]
    return ["python", "report.py", *models, "--data", options.data, *size, *where]


def what_next(run: Run, found: Metrics | None) -> str:
    """The commands that make sense after this run; `found` is what best.pt is worth."""
    options, folder = run.options, run.folder
    cfg, data = options.cfg, options.data
    size: Words = ["--img-size", *run.model.img_size] if options.images.size else []
    name = folder.path.name

    def on(script: str, *rest: str | Path | float) -> Words:
        return ["python", script, *rest, "--data", data, *size]

    if options.sparsity.on:
        script = f"{options.sparsity.strategy}.py"
        how_far: Words = ["--max-map-drop", _DROP, "--round-to", 8, "--name", f"{name}-slim"]
        ranked: Words = [] if options.sparsity.penalty == "gammas" else ["--importance", "group"]
        prune = on(script, "--weights", folder.last, *ranked, *how_far)
        return next_steps({f"prune as far as {_DROP:g} of mAP@.5 allow": prune})
    check = {"score it, class by class": on("val.py", "--weights", folder.best)}
    if found is not None and run.spec.valid and found.threshold:
        shown: Words = ["--source", run.spec.valid, "--conf-thres", found.threshold]
        check = {"see what it finds": on("detect.py", "--weights", folder.best, *shown)}
    if options.start.masks:
        return next_steps(check)
    if options.int8:
        export = on("export.py", "--weights", folder.best, "--format", "onnx", "--int8")
        return next_steps({"have it in 8 bits": export, **check})
    if plan_path(cfg).is_file() or Path(cfg).name.startswith("prune_"):
        export = on("export.py", "--weights", folder.best, "--format", "opencv")
        steps = {"have its cfg and weights for OpenCV and Darknet": export, **check}
        if options.teacher.weights:
            steps["see what has become of its teacher, on a page"] = _page(options, folder, size)
        return next_steps(steps)
    smaller = on("compress.py", "--weights", folder.best, "--keep-params", _KEEP)
    return next_steps({"make it smaller": smaller, **check})
