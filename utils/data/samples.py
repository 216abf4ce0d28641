"""The images and labels that a list names, checked: what can be trained or evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..command.errors import UserError
from ..command.progress import progress_bar
from .darknet_files import load_list
from .images import Size, UnreadableImageError, image_size
from .labels import FloatArray, label_path, read_labels_or_problem
from .problems import Problem


@dataclass(frozen=True)
class Sample:
    """One image of a list; `labels` are (n, 5): class, xc, yc, w, h normalised to the image."""

    path: Path
    labels: FloatArray
    image_hw: Size
    where: str  # "list:line"


def load_samples(list_path: str | Path, nc: int) -> tuple[list[Sample], list[Problem]]:
    """The usable images of a list, and every image and label row left out, with the reason.

    An image is left out when it has no readable header or its label file is not text; a label row
    when it makes no sense (see labels.py). Raises UserError when no image is left.
    """
    samples: list[Sample] = []
    problems: list[Problem] = []
    entries = load_list(list_path)
    # The bar appears only when reading takes more than two seconds.
    for number, path in progress_bar(entries, f"reading {list_path}", "img"):
        where = f"{list_path}:{number}"
        sample, found = _load_sample(path, where, nc)
        problems += found
        if sample:
            samples.append(sample)
    if not samples:
        raise UserError(f"{list_path}: none of its {len(entries)} images is usable ({problems[0]})")
    return samples, problems


def samples_without_labels(paths: Sequence[Path]) -> tuple[list[Sample], list[Problem]]:
    """The same for images whose labels nobody knows; no list names them, so their folder does."""
    samples: list[Sample] = []
    problems: list[Problem] = []
    for path in progress_bar(paths, "reading images without labels", "img"):
        try:
            hw = image_size(path)
        except UnreadableImageError as error:
            problems.append(Problem(str(path.parent), f"{path.name}: {error}"))
        else:
            samples.append(Sample(path, np.zeros((0, 5), np.float32), hw, str(path.parent)))
    return samples, problems


def without_label_files(samples: Sequence[Sample]) -> bool:
    """Whether no image at all has a label file: likely a wrong path, not all negatives."""
    return not any(len(s.labels) or label_path(s.path).is_file() for s in samples)


def class_counts(samples: Sequence[Sample], nc: int) -> npt.NDArray[np.int64]:
    """Number of boxes of each class, (nc,)."""
    classes = [sample.labels[:, 0] for sample in samples]
    return np.bincount(np.concatenate(classes).astype(np.int64), minlength=nc)


def class_balance_weights(samples: Sequence[Sample], nc: int) -> npt.NDArray[np.float64]:
    """A sampling weight per image (n,): the sum over its boxes of 1 / (boxes of that class).

    Images without boxes get the smallest weight among the others, so that they still take part.
    """
    per_class = 1 / np.maximum(class_counts(samples, nc), 1)
    weights = np.array(
        [per_class[sample.labels[:, 0].astype(np.int64)].sum() for sample in samples]
    )
    positive = weights[weights > 0]
    return np.where(weights > 0, weights, positive.min() if len(positive) else 1.0)


def _load_sample(path: Path, where: str, nc: int) -> tuple[Sample | None, list[Problem]]:
    try:
        image_hw = image_size(path)
    except UnreadableImageError as error:
        return None, [Problem(where, f"{path}: {error}")]
    labels, problems = read_labels_or_problem(label_path(path), nc)
    if labels is None:
        return None, problems
    return Sample(path, labels, image_hw, where), problems
