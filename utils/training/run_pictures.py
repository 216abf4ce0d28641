"""The pictures of a run folder: what was trained on, how it went, and what the best epoch finds."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..command.files import atomic_write
from ..data.loader import Batch, make_loader
from ..detection.evaluate import collect, measure
from ..detection.plots.write import write_plots
from ..detection.results import Metrics
from ..network.int8.convert import set_ranges
from ..pictures.detections import Picture
from ..pictures.labelled import as_rgb, drawn_cell, encoded, labels_as_detections, sheet
from .checkpoint import Progress
from .parts import Run

DRAWN_BATCHES = 3
_SHOWN_IMAGES, _COLUMNS = 16, 4

# Columns of results.csv -> their titles in results.png.
_TITLES = {
    "loss/total": "loss",
    "val/precision": "P",
    "val/recall": "R",
    "val/map50": "mAP@.5",
    "val/map": "mAP@.5:.95",
    "lr": "learning rate",
}
_SPARSE_TITLES = {
    "gamma/near_zero": "share of |gamma| < .01",
    "gamma/median": "|gamma| median",
    "channel/near_zero": "share of channels < .01 of the largest",
    "channel/median": "channel median",
}


def batch_sheet(batch: Batch, names: Sequence[str]) -> Picture:
    """The first images of a batch with their boxes, as the network gets them."""
    images = batch.images[:_SHOWN_IMAGES].permute(0, 2, 3, 1).cpu().numpy()
    targets = batch.targets.cpu().numpy().astype(np.float64)
    cells = []
    for place, image in enumerate(images):
        there = labels_as_detections(targets[targets[:, 0] == place, 1:], image.shape[:2])
        cells.append(drawn_cell(as_rgb(image), there, names, with_scores=False))
    return sheet(cells, _COLUMNS)


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture whole or not at all; its suffix says how."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(encoded(picture, path.suffix))


def write_labels(run: Run) -> None:
    """labels.jpg: how many boxes the training images hold, where, and how large."""
    from ..pictures.charts import save_picture  # matplotlib takes a second to load
    from ..pictures.run_charts import labels_chart

    rows = np.concatenate([sample.labels for sample in run.loader.dataset.samples])
    figure = labels_chart(rows.astype(np.float64), run.spec.names)
    with atomic_write(run.folder.path / "labels.jpg") as temporary:
        save_picture(figure, temporary, "jpg", 120)


def write_results(run: Run, progress: Progress) -> None:
    """results.png: each column of results.csv that tells something, over the epochs."""
    from ..pictures.charts import save_png
    from ..pictures.run_charts import results_chart

    rows = progress.rows
    losses = {key: key.removeprefix("loss/") for key in rows[0] if key.startswith("loss/")}
    titles = {**losses, **_TITLES, **(_SPARSE_TITLES if run.options.sparsity.on else {})}
    panels = {
        title: [row.get(key) for row in rows]
        for key, title in titles.items()
        if any(key in row for row in rows)
    }
    best = progress.best_epoch + 1 if run.valid is not None else None
    figure = results_chart([int(row["epoch"]) + 1 for row in rows], panels, best)
    with atomic_write(run.folder.path / "results.png") as temporary:
        save_png(figure, temporary)


def write_scores(run: Run) -> Metrics | None:
    """Curves, confusion matrix and labels beside detections of best.pt, which is scored anew.

    None where there is nothing to score it on.
    """
    if run.valid is None:
        return None
    network = copy.deepcopy(run.model)
    network.load_weights(run.folder.best)
    set_ranges(network, network.ranges)
    network.eval().to(run.device).answering_().fuse()
    images = run.valid.dataset
    # All of them: run.valid has this process's share.
    loader = make_loader(images, run.options.images.batch_size)
    found = collect(network, loader, run.spec.nc, run.scoring())
    write_plots(run.folder.path, found, images, run.spec.names)
    return measure(found, run.spec.nc, run.spec.names)
