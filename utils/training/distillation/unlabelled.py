"""Training images without labels: `--unlabelled FOLDER`.

They are further images of an epoch, of which only what the teacher says of them is learned. That
nothing is labelled there does not mean that nothing is there: taken as negatives they would teach
the student to overlook objects. So the labels' loss leaves them out, and a mosaic holds tiles of
one sort only (data/dataset.py). Label files beside them are not read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...command.errors import UserError
from ...data.darknet_files import load_list
from ...data.loader import Batch
from ...detection.sources import IMAGE_SUFFIXES
from ..losses.loss import DetectionLoss, Losses
from ..optimization.ranks import Ranks


def images_without_labels(folder: str, lists: Collection[Path | None]) -> tuple[Path, ...]:
    """All images below a folder, by name, but for those that the lists of the data set hold.

    Those have labels already, or are there to validate on. None for ''. Raises UserError where
    nothing is left.
    """
    if not folder:
        return ()
    place = Path(folder)
    if not place.is_dir():
        raise UserError(f"--unlabelled {folder}: is no folder; give one with images")
    known = {path.resolve() for file in lists if file for _, path in load_list(file)}
    found = sorted(p for p in place.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    new = tuple(path for path in found if path.resolve() not in known)
    if not new:
        why = "the data set names all its images" if found else "no images in it"
        raise UserError(f"--unlabelled {folder}: {why}; give a folder with others")
    return new


def labels_loss(
    loss: DetectionLoss, raw: Sequence[Tensor], batch: Batch, labelled: int, ranks: Ranks
) -> Losses:
    """The labels' loss of those images of a batch that have some: its indices below `labelled`.

    Raw heads (B, C, H, W) of all its images.
    """
    hw = (batch.images.shape[2], batch.images.shape[3])
    places = [place for place, index in enumerate(batch.indices) if index < labelled]
    total = len(batch.indices)
    weight = 1.0 if places else 0.0
    if loss.options.from_cfg:
        # It divides by this rank's labelled images, which may be more or fewer than another's.
        weight = len(places) / max(ranks.mean(len(places)), 1 / ranks.world)
    if not places or len(places) == total:
        # Without a labelled image: names and waiting ranks want the call all the same.
        found = loss(raw, batch.targets, hw)
    else:
        chosen = torch.tensor(places, device=raw[0].device)
        targets = batch.targets.clone()
        targets[:, 0] = torch.searchsorted(chosen, targets[:, 0].long()).float()
        found = loss([x[chosen] for x in raw], targets, hw)
    return found if weight == 1 else {name: weight * part for name, part in found.items()}
