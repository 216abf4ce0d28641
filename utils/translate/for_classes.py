"""A translated network for other classes: all but the last layer of the classes is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from ..cfg import with_net, with_note
from ..network.for_data.retarget import with_classes
from ..network.initialize import initialize
from ..network.layers import Head, build_layers
from .blocks.writer import NAMES_NOTE, Translated


def for_classes(found: Translated, names: Sequence[str]) -> Translated:
    """The network with fresh (random, seed 0) convolutions where the classes decide the filters.

    Raises UserError for a network whose heads' channels do not come straight from convolutions.
    """
    cfg = with_classes(found.cfg, len(names))
    cfg = with_net(cfg, with_note(cfg.net, NAMES_NOTE, list(names)))
    layers = build_layers(cfg)
    heads = [layer for layer in layers if isinstance(layer, Head)]
    modules = nn.ModuleList(layer.module() for layer in layers)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        initialize(modules, heads)
    fresh = {f"layers.{key}": tensor for key, tensor in modules.state_dict().items()}
    state = {
        key: tensor if tensor.shape == fresh[key].shape else fresh[key]
        for key, tensor in found.state.items()
    }
    return replace(found, cfg=cfg, state=state, names=tuple(names))
