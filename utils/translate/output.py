"""Where a translated model is written: cfg, weights and names side by side, all or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from torch import Tensor

from ..cfg import Cfg, load_cfg, save_cfg
from ..command.files import atomic_write
from ..data.darknet_files import names_text
from ..network.layers import build_layers
from ..network.weights import save_checked_weights
from .options import Outputs


def write_all(
    cfg: Cfg, state: Mapping[str, Tensor], names: Sequence[str], outputs: Outputs
) -> list[Path]:
    """Write the files, and read the weights in again as a check. Returns the paths."""
    with ExitStack() as stack:
        new_cfg, new_weights = (stack.enter_context(atomic_write(path)) for path in outputs[:2])
        save_cfg(cfg, new_cfg)
        layers = build_layers(load_cfg(new_cfg))
        save_checked_weights(new_weights, layers, state)
        if outputs.names is not None:
            new_names = stack.enter_context(atomic_write(outputs.names))
            new_names.write_text(names_text(names), encoding="utf-8")
    return [path for path in outputs if path is not None]
