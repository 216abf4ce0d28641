"""Are the files there that a command was given, and is the cfg's text right? Asked before work."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..cfg import Cfg
from ..command.errors import UserError
from ..command.files import require_file
from ..command.words.next_step import Words
from ..data.darknet_files import read_data_text
from ..network.cfg_of import own_cfg, read_cfg
from .options import Inputs

DRAWN_SET = Path("data/shapes/shapes.data")  # what train.py takes by default


def require_inputs(
    cfg: str | Path, weights: str | Path | None = None, data: str | Path | None = None
) -> Cfg:
    """The parsed cfg, after a look at the other files; '' and None are those not given.

    Light, unless the cfg is in a checkpoint: no tensor is needed. What the sections mean, and what
    stands in the other files, is checked by those who read them. Raises UserError for a missing
    file, and CfgError (`file:line`) for a cfg whose text is wrong.
    """
    if weights and str(weights) == str(cfg):
        require_file(weights, "the weights")
    parsed = read_cfg(cfg)
    if weights:
        require_file(weights, "the weights")
    if data:
        require_data(data)
    return parsed


def add_inputs(parser: argparse._ActionsContainer, weights: str | None = None) -> None:
    """Add `--cfg` and `--weights` (by default `weights`); read them back with `inputs_of`."""
    add = parser.add_argument
    add(
        "--cfg",
        help="structure of the model; left out, what a .pt holds, or NAME.cfg beside NAME.weights",
    )
    add("--weights", default=weights, help=".pt or .weights file")


def inputs_of(
    cfg: str | None, weights: str | None, img_size: tuple[int, int] | None = None
) -> Inputs:
    """What `--cfg` and `--weights` name: without the first, the weights' own cfg.

    That is the one in a checkpoint, or the file beside `NAME.weights` that is called NAME.cfg.
    Raises UserError where there is none.
    """
    if not weights:
        raise UserError("--weights: name a .pt or .weights file (see --help)")
    if cfg:
        return Inputs(cfg, weights, img_size)
    own = own_cfg(weights)
    if own is None:
        require_file(weights, "the weights")
        raise UserError(
            f"--weights {weights}: holds no structure, as a .pt does, and no .cfg of its name lies "
            "beside it: name its --cfg"
        )
    return Inputs(own, weights, img_size)


def model_words(inputs: Inputs) -> Words:
    """The flags that name a model in another command; what its weights say is left out."""
    structure: Words = [] if inputs.cfg == own_cfg(inputs.weights) else ["--cfg", inputs.cfg]
    size: Words = ["--img-size", *inputs.img_size] if inputs.img_size else []
    return ["--weights", inputs.weights, *structure, *size]


def model_of(pair: str, size: tuple[int, int] | None) -> Inputs:
    """The files of a `CFG,WEIGHTS`, or of a .pt alone; a path may hold commas of its own."""
    commas = [place for place, letter in enumerate(pair) if letter == ","]
    splits = [(pair[:place], pair[place + 1 :]) for place in commas]
    if (not splits or Path(pair).is_file()) and own_cfg(pair):
        return inputs_of(None, pair, size)
    if not splits or not all(splits[0]):
        raise UserError(f"--models {pair}: expected CFG,WEIGHTS without a blank, or a .pt file")
    there = (split for split in splits if all(Path(path).is_file() for path in split))
    return Inputs(*next(there, splits[0]), size)


def require_data(data: str | Path) -> None:
    """Raise UserError for a data set that is not there, or a `.data` file that is no text.

    A folder, a YAML or a JSON file is looked into by those who read it (annotations/forms.py).
    """
    path = Path(data)
    if path == DRAWN_SET and not path.exists():
        raise UserError(f"{path}: not there yet: python data/shapes.py draws it; or name --data")
    if not path.exists():
        raise UserError(f"{path}: no such file or folder (the data set)")
    if not path.is_dir() and path.suffix.lower() not in (".yaml", ".yml", ".json", ".zip"):
        read_data_text(path)
