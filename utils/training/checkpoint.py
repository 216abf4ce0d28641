"""Checkpoints: everything a run needs to go on as if it had never stopped.

A file holds tensors, numbers and text only, so torch.load(weights_only=True) reads it. `model` is
what one evaluates, prunes and ships (the averaged weights); `cfg` is the network as text.
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from ..command.errors import UserError
from ..command.files import all_or_none, alone
from ..command.flag_fields import to_flags
from ..network.checkpoints.file import save_checkpoint
from ..network.int8.convert import ranges_of, set_ranges
from ..network.int8.saved import KEY, RAW_KEY, ranges_in
from ..network.weights import checkpoint_content, load_checkpoint
from .optimization.held_masks import HeldMasks
from .options import TrainOptions
from .run_folder import RunFolder

# Of what a run goes on from, beside its tensors.
_KINDS: dict[str, type | tuple[type, ...]] = {
    "cfg": str, "args": dict, "results": list, "raw": dict, "optimizer": dict, "scaler": dict,
    "rng": dict, "epoch": int, "step": int, "seen": int, "best_epoch": int, "ema_updates": int,
    "best_fitness": (int, float),
}  # fmt: skip

Row = dict[str, float]
Args = dict[str, Any]  # plain values, as in args.json

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a run is: what the next epoch needs to know about the ones before."""

    epoch: int = 0  # completed epochs
    step: int = 0  # optimizer steps
    seen: int = 0  # images
    best_fitness: float = -1.0
    best_epoch: int = -1
    best_conf: float = math.nan  # the score of the best F1 of the newest epoch that was scored
    saved: int = -1  # the epochs that last.pt holds; below 0 there is none
    rows: list[Row] = field(default_factory=list)  # results.csv


@dataclass(frozen=True)
class Trainee:
    """The objects whose state changes during training."""

    model: nn.Module
    ema: AveragedModel | None
    optimizer: Optimizer
    scaler: torch.amp.GradScaler
    masks: HeldMasks | None = None

    def averaged(self) -> nn.Module:
        """The network to evaluate: the average, or the model itself without one."""
        return self.ema.module if self.ema is not None else self.model


def weights_content(
    trainee: Trainee, cfg_text: str, progress: Progress, names: Sequence[str] = ()
) -> dict[str, Any]:
    """What `best.pt` holds: the weights to use, with their masks, and no state of training.

    Beside them what detect.py and export.py say of them: `names` of the classes, and `best_conf`,
    the score of the best F1, where the epoch was scored.
    """
    masks = {} if trainee.masks is None else {"masks": dict(trainee.masks.masks)}
    conf = {} if math.isnan(progress.best_conf) else {"best_conf": progress.best_conf}
    ranges = ranges_of(trainee.averaged())
    return {
        **checkpoint_content(cfg_text, trainee.averaged().state_dict(), progress.seen),
        "names": list(names),
        **conf,
        "epoch": progress.epoch,
        "best_fitness": progress.best_fitness,
        **masks,
        **({KEY: ranges} if ranges else {}),
    }


def training_content(
    trainee: Trainee, cfg_text: str, progress: Progress, args: Args, names: Sequence[str] = ()
) -> dict[str, Any]:
    """What `last.pt` holds: the weights to use and all that `restore` needs."""
    ema = trainee.ema
    ranges = ranges_of(trainee.model)
    return {
        **weights_content(trainee, cfg_text, progress, names),
        "raw": trainee.model.state_dict(),
        "ema_updates": int(ema.n_averaged) if ema is not None else 0,
        "optimizer": trainee.optimizer.state_dict(),
        "scaler": trainee.scaler.state_dict(),
        "rng": _rng_states(),
        "step": progress.step,
        "best_epoch": progress.best_epoch,
        "results": progress.rows,
        "args": args,
        **({RAW_KEY: ranges} if ranges else {}),
    }


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    save_checkpoint(path, content)


def load_for_resume(path: Path) -> dict[str, Any]:
    """Read a checkpoint that training can go on from; UserError for one with weights alone.

    A file of another version, or one that somebody has changed, is told apart as well.
    """
    checkpoint = load_checkpoint(path)
    if "optimizer" not in checkpoint or "args" not in checkpoint:
        raise UserError(
            f"{path}: holds weights but no state of training; "
            "start a new run from it with --weights, or resume from its last.pt"
        )
    for key, kinds in _KINDS.items():
        value = checkpoint.get(key)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise _unlike(path, key)
    rows = checkpoint["results"]
    if not all(isinstance(row, dict) and _is_row(row) for row in rows):
        raise _unlike(path, "results")
    defaults = to_flags(TrainOptions())
    for name, value in checkpoint["args"].items():
        if not _is_like(value, defaults.get(name)):
            raise _unlike(path, f"args: {str(name)[:40]}")
    return checkpoint


def _is_row(row: Mapping[Any, Any]) -> bool:
    """Whether it is a line of results.csv: numbers by name."""
    numbers = all(isinstance(k, str) and type(v) in (int, float) for k, v in row.items())
    return numbers and "epoch" in row


def _is_like(value: object, default: object) -> bool:
    """Whether a flag's value is of the kind of its default, where that says what it is."""
    if default is None or value is None:
        return value is None or isinstance(value, bool | int | float | str | list)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool | str) or value is None
    if isinstance(default, int | float):
        return isinstance(value, int | float)
    return isinstance(value, type(default))


def _unlike(path: Path, key: str) -> UserError:
    return UserError(f"{path}: its '{key}' is not what this version of train.py writes")


def restore(checkpoint: Mapping[str, Any], trainee: Trainee) -> Progress:
    """Put the saved states back in place, random generators included.

    Raises UserError for states of another network or version.
    """
    try:
        trainee.model.load_state_dict(checkpoint["raw"])
        if trainee.ema is not None:
            trainee.ema.module.load_state_dict(checkpoint["model"])
            trainee.ema.n_averaged.fill_(checkpoint["ema_updates"])
            set_ranges(trainee.ema.module, ranges_in(checkpoint, "last.pt"))
        trainee.optimizer.load_state_dict(checkpoint["optimizer"])
        trainee.scaler.load_state_dict(checkpoint["scaler"])
        _set_rng_states(checkpoint["rng"])
        rows = [dict(row) for row in checkpoint["results"]]
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"last.pt: its state of training does not fit ({what}): changed since, or of another "
            "version"
        ) from None
    return Progress(
        epoch=checkpoint["epoch"],
        step=checkpoint["step"],
        seen=checkpoint["seen"],
        best_fitness=checkpoint["best_fitness"],
        best_epoch=checkpoint["best_epoch"],
        best_conf=checkpoint.get("best_conf", math.nan),
        saved=checkpoint["epoch"],
        rows=rows,
    )


def leave_copies(run: RunFolder, folder: Path) -> None:
    """Put last.pt and best.pt into `folder` as well, over what an earlier run left there.

    A file that is no checkpoint of this program stays, with a warning.
    """
    pairs = []
    for source in (run.last, run.best):
        target = folder / source.name
        if not source.is_file():
            continue
        if target.exists() and not _is_ours(target):
            logger.warning("%s: is not from train.py and stays; see %s", target, source)
            continue
        pairs.append((source, target))
    if not pairs:
        return
    targets = [target for _, target in pairs]
    with alone(*targets):  # of two runs that end at once, both files are of the later one
        replaced = any(target.exists() for target in targets)
        with all_or_none(*targets) as fresh:
            for (source, _), path in zip(pairs, fresh, strict=True):
                shutil.copyfile(source, path)
    over = ", over those of an earlier run" if replaced else ""
    logger.info("%s: copies of this run's, %s%s", " and ".join(map(str, targets)), run.path, over)


def copies_are_due(run: RunFolder, folder: Path) -> bool:
    """Whether a run that is done was killed before `leave_copies`: what lies there is older."""
    target = folder / run.last.name
    return not target.exists() or target.stat().st_mtime_ns < run.last.stat().st_mtime_ns


def _is_ours(path: Path) -> bool:
    try:
        return {"format", "cfg"} <= load_checkpoint(path).keys()
    except UserError:
        return False


def _rng_states() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_rng_states(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(_bytes(states["cpu"]))
    # Another number of GPUs than before: then there is nothing to continue bit for bit.
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([_bytes(state) for state in states["cuda"]])


def _bytes(state: Tensor) -> Tensor:
    return state.to("cpu", torch.uint8)
