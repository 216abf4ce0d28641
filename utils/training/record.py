"""What a run leaves to look at: results.csv and TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from ..command.csv_file import write_csv
from ..data.loader import Batch
from ..detection.results import Metrics
from .checkpoint import Row

_SHOWN_IMAGES = 16
_BOX_COLOUR = (255, 210, 0)


class Record:
    """results.csv and TensorBoard files of one run folder; a context manager.

    `first_epoch`: where a resumed run goes on; what TensorBoard has from there on is replaced.
    """

    def __init__(self, folder: Path, first_epoch: int = 0) -> None:
        self._results = folder / "results.csv"
        self._board = SummaryWriter(str(folder), purge_step=first_epoch or None)

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._board.close()

    def epoch(self, rows: Sequence[Mapping[str, float]], gammas: Tensor) -> None:
        """Write all rows of results.csv, and the newest one and the |gamma| to TensorBoard."""
        write_csv(self._results, rows)
        epoch = int(rows[-1]["epoch"])
        for name, value in rows[-1].items():
            if name != "epoch":
                self._board.add_scalar(name, value, epoch)
        if len(gammas):
            self._board.add_histogram("bn_gamma/candidates", gammas.cpu().numpy(), epoch)
        self._board.flush()

    def gammas_per_layer(self, moment: str, gammas: Mapping[int, Tensor]) -> None:
        """Histograms of |gamma| (C,) per layer; the step is the layer's index."""
        for index, gamma in gammas.items():
            values = gamma.detach().abs().float().cpu().numpy()
            self._board.add_histogram(f"bn_gamma_per_layer/{moment}", values, index)

    def first_batch(self, batch: Batch) -> None:
        """The first training images with their boxes, as the network gets them."""
        picture = draw_batch(batch.images, batch.targets)
        self._board.add_image("first_batch", picture, 0, dataformats="HWC")


def scores(metrics: Metrics) -> Row:
    """Columns of results.csv; nan (no targets at all) counts as 0.

    The fitness, by which best.pt is chosen, is the mean of mAP@.5 and mAP@.5:.95.
    """
    values = {
        "val/precision": metrics.precision,
        "val/recall": metrics.recall,
        "val/f1": metrics.f1,
        "val/map50": metrics.map50,
        "val/map": metrics.map,
        "fitness": (metrics.map50 + metrics.map) / 2,
    }
    return {name: 0.0 if math.isnan(value) else value for name, value in values.items()}


def draw_batch(images: Tensor, targets: Tensor) -> npt.NDArray[np.uint8]:
    """A mosaic of the first images with their boxes, RGB (height, width, 3).

    Grey images are grey; of more bands the first three are shown.

    images: uint8 (B, C, h, w); targets (T, 6): image, class, xc, yc, w, h (0..1).
    """
    count = min(len(images), _SHOWN_IMAGES)
    height, width = images.shape[2:]
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    canvas = np.zeros((rows * height, columns * width, 3), np.uint8)
    for place in range(count):
        # A copy: the batch is about to be trained on, and boxes do not belong in it.
        shown = images[place, :3].permute(1, 2, 0).cpu().numpy()
        picture = np.array(np.broadcast_to(shown, (height, width, 3)))
        for box in targets[targets[:, 0] == place].cpu().numpy():
            _draw_box(picture, box)
        top, left = place // columns * height, place % columns * width
        canvas[top : top + height, left : left + width] = picture
    return canvas


def _draw_box(picture: npt.NDArray[np.uint8], target: npt.NDArray[np.float32]) -> None:
    """Draw (image, class, xc, yc, w, h) into the picture."""
    size = np.array(picture.shape[1::-1], np.float32)
    centre, half = target[2:4] * size, target[4:6] * size / 2
    (x1, y1), (x2, y2) = (np.rint(centre + sign * half).astype(int).tolist() for sign in (-1, 1))
    cv2.rectangle(picture, (x1, y1), (x2, y2), _BOX_COLOUR, 1)
    cv2.putText(picture, str(int(target[1])), (x1, y1 + 10), 0, 0.4, _BOX_COLOUR, 1)
