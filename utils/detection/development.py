"""The development share of a training list: the images that choices are made on.

Whoever chooses by the validation list cannot measure by it any more. So every command that chooses
(what may go, how wide, which recipe) scores on a share of the *training* list, by one rule: the
images in the order of sha256("SEED:NUMBER"), NUMBER counting the list's different images from 0;
the first of them are the share, all others the rest, which trainings of that command go on with.
The order depends on nothing else, so that the same list and seed give the same share anywhere, and
a smaller share is part of a larger one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ..command.errors import UserError
from ..command.files import atomic_write
from ..data.darknet_files import DataSpec, load_list, names_text
from .options import Development

NAME, CHOICES = "development.data", "choices.data"


def development_split(
    paths: Sequence[Path], development: Development
) -> tuple[list[Path], list[Path]]:
    """The images of the share, in their drawn order, and all others, in the list's.

    At least one image is on either side. `development.most` shortens the first part only. Raises
    UserError for fewer than two images.
    """
    different = list(dict.fromkeys(paths))
    if len(different) < 2:
        raise UserError(
            "--development: the training list names a single image; two are needed for a share"
        )
    order = sorted(range(len(different)), key=lambda number: _place(development.seed, number))
    count = min(max(1, round(len(different) * development.share)), len(different) - 1)
    chosen = order[:count]
    rest = sorted(order[count:])
    return [different[k] for k in chosen[: development.most]], [different[k] for k in rest]


def write_development(spec: DataSpec, folder: Path, development: Development) -> Path:
    """Write FOLDER/development.data: `valid=` names the share, `train=` the rest. Its path.

    A data set like any other, so that every command can score and train on it. What lies there
    already is kept: a run that goes on goes on with the images that it began with. Raises UserError
    for a data set without a training list.
    """
    entries = [path for _, path in load_list(spec.require("train"))]
    share, rest = development_split(entries, development)
    return _written(spec, folder / NAME, share, rest)


def write_choices(spec: DataSpec, folder: Path, development: Development) -> Path:
    """Write FOLDER/choices.data: `valid=` names the share, `train=` the whole list. Its path.

    For choices about a network that was trained on all of these images already: to hold the share
    back from its further training would make nothing of it unseen. What counts is how networks
    compare that have seen it alike. As `write_development` otherwise.
    """
    entries = [path for _, path in load_list(spec.require("train"))]
    share, _ = development_split(entries, development)
    return _written(spec, folder / CHOICES, share, list(dict.fromkeys(entries)))


def _written(spec: DataSpec, target: Path, valid: Sequence[Path], train: Sequence[Path]) -> Path:
    if target.is_file():
        return target
    stem, folder = target.stem, target.parent
    texts = {
        f"{stem}.txt": _lines(valid),
        "rest.txt" if target.name == NAME else f"{stem}-train.txt": _lines(train),
        f"{stem}.names": names_text(spec.names),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        _write(folder / name, text)
    scored, trained, names = ((folder / name).absolute() for name in texts)
    _write(target, f"classes={spec.nc}\ntrain={trained}\nvalid={scored}\nnames={names}\n")
    return target


def _place(seed: int, number: int) -> str:
    return hashlib.sha256(f"{seed}:{number}".encode()).hexdigest()


def _lines(paths: Sequence[Path]) -> str:
    # Not resolved: labels are found by an image's own path, whatever a link in it leads to.
    return "".join(f"{path.absolute()}\n" for path in paths)


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
