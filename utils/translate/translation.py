"""The whole way of a checkpoint: read, translated block by block, checked."""

from __future__ import annotations

from pathlib import Path

from ..command.errors import UserError
from ..network.layers import build_layers
from ..network.weights import key_of, require_usable
from .blocks import families
from .blocks.writer import Answer, Translated, translate
from .reading.checkpoint import load_stubs


def translate_checkpoint(
    path: str | Path, img_hw: tuple[int, int] = (640, 640), answer: Answer = "own"
) -> Translated:
    """The network of a checkpoint as cfg and state, for an input of (height, width).

    `answer`: which branches of its head. Raises UserError for a file that is none, holds something
    else, a block without sections, or a head without these branches.
    """
    try:
        checkpoint = load_stubs(path)
        known = families.EMITTERS, families.JOINERS
        found = translate(checkpoint, str(path), img_hw, *known, answer)
    except (RuntimeError, IndexError) as error:  # torch's: it cannot add, stack, pick from these
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
