"""What a run leaves to look at while it trains: results.csv, train.log, TensorBoard, pictures."""

from __future__ import annotations

import logging
import math
import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from ..command.csv_file import write_csv
from ..data.loader import Batch
from ..detection.results import Metrics
from .checkpoint import Row
from .parts import Run
from .run_pictures import DRAWN_BATCHES, batch_sheet, write_labels, write_picture


def _quietly(ended: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread hands what the disk refuses to the next call: once is enough."""
    if not issubclass(ended.exc_type, OSError):
        threading.__excepthook__(ended)


class _Log(logging.FileHandler):
    """train.log: a line that the disk does not take is told once, and stops no training."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._told:
            self._told = True
            reason = f"{self.baseFilename}: lines are missing ({error.strerror})"
            print(f"WARNING: {reason}", file=sys.stderr)


class Record:
    """results.csv, train.log, TensorBoard files and pictures of a run; a context manager.

    `first_epoch`: where a resumed run goes on; what TensorBoard has from there on is replaced.
    Within the context, what is logged goes to train.log as well.
    """

    def __init__(self, run: Run, first_epoch: int = 0) -> None:
        folder = run.folder.path
        self._run = run
        self._draws = not run.options.after_epoch.noplots
        self._results = folder / "results.csv"
        # TensorBoard's thread writes from the first moment on, before anything else here can fail.
        self._hook, threading.excepthook = threading.excepthook, _quietly
        try:
            self._board = SummaryWriter(str(folder), purge_step=first_epoch or None)
            mode = "a" if first_epoch else "w"
            self._log = _Log(folder / "train.log", mode, encoding="utf-8")
        except BaseException:
            threading.excepthook = self._hook
            raise
        self._log.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))

    def __enter__(self) -> Record:
        root = logging.getLogger()
        # Where nobody has set logging up, warnings go on to stderr as they would without a file.
        alone = [] if root.handlers or logging.lastResort is None else [logging.lastResort]
        self._handlers: list[logging.Handler] = [self._log, *alone]
        for handler in self._handlers:
            root.addHandler(handler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
        try:
            self._log.close()
            self._board.close()
        except OSError:
            if error is None:  # else of the same cause: the first error says it better
                raise
        finally:
            threading.excepthook = self._hook

    def epoch(self, rows: Sequence[Mapping[str, float]], gammas: Tensor) -> None:
        """Write all rows of results.csv, and the newest one and the |gamma| to TensorBoard."""
        write_csv(self._results, rows)
        epoch = int(rows[-1]["epoch"])
        for name, value in rows[-1].items():
            if name != "epoch":
                self._board.add_scalar(name, value, epoch)
        if epoch == 0 and self._draws:
            write_labels(self._run)
        if len(gammas):
            self._board.add_histogram("bn_gamma/candidates", gammas.cpu().numpy(), epoch)
        self._board.flush()

    def gammas_per_layer(self, moment: str, gammas: Mapping[int, Tensor]) -> None:
        """Histograms of |gamma| (C,) per layer; the step is the layer's index."""
        for index, gamma in gammas.items():
            values = gamma.detach().abs().float().cpu().numpy()
            self._board.add_histogram(f"bn_gamma_per_layer/{moment}", values, index)

    def batch(self, number: int, batch: Batch) -> None:
        """A batch of the first epoch: the first ones are drawn, the very first for TensorBoard."""
        if number >= (DRAWN_BATCHES if self._draws else 1):
            return
        picture = batch_sheet(batch, self._run.spec.names)
        if self._draws:
            write_picture(self._run.folder.path / f"train_batch{number}.jpg", picture)
        if number == 0:
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
