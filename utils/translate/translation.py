"""The whole way of a checkpoint: read, translated block by block, checked."""

from __future__ import annotations

from pathlib import Path

from ..command.errors import UserError
from ..network.layers import build_layers
from ..network.weights import key_of, require_usable
from .blocks import EMITTERS, JOINERS
from .blocks_v7 import V7_EMITTERS
from .blocks_v9 import V9_EMITTERS
from .checkpoint import load_stubs
from .writer import Translated, translate


def translate_checkpoint(path: str | Path, img_hw: tuple[int, int] = (640, 640)) -> Translated:
    """The network of a checkpoint as cfg and state, for an input of (height, width).

    Raises UserError for a file that is none, holds something else, or a block without sections.
    """
    emitters = {**EMITTERS, **V7_EMITTERS, **V9_EMITTERS}
    try:
        found = translate(load_stubs(path), str(path), img_hw, emitters, JOINERS)
    except RuntimeError as error:  # torch's, for tensors that it cannot add, multiply or stack
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(f"{path}: its tensors do not fit each other ({reason})") from None
    require_usable(found.state, str(path))
    for layer in build_layers(found.cfg):
        for field in layer.fields():
            shape = tuple(found.state[key_of(layer.index, field.name)].shape)
            if shape != field.shape:
                raise UserError(
                    f"{path}: its blocks do not fit each other: layer {layer.index} needs a "
                    f"{field.name} of shape {field.shape}, but has {shape}"
                )
    return found
