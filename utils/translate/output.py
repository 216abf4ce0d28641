"""Where a translated model is written: cfg, weights and names side by side, all or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ..cfg import Cfg, load_cfg, save_cfg
from ..command.files import all_or_none
from ..data.darknet_files import names_text
from ..network.layers import build_layers
from ..network.weights import save_checked_weights
from .options import Outputs


def write_all(
    cfg: Cfg, state: Mapping[str, Tensor], names: Sequence[str], outputs: Outputs
) -> list[Path]:
    """Write the files, and read the weights in again as a check. Returns the paths."""
    paths = [path for path in outputs if path is not None]
    with all_or_none(*paths) as (new_cfg, new_weights, *new_names):
        save_cfg(cfg, new_cfg)
        layers = build_layers(load_cfg(new_cfg))
        save_checked_weights(new_weights, layers, state)
        for path in new_names:
            path.write_text(names_text(names), encoding="utf-8")
    return paths
