"""Whether a weights file fits a network, and how large its gammas are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from torch import Tensor

from ..command.errors import UserError
from ..command.table import table
from ..network.graph import ChannelGraph
from ..network.layers import Layer
from ..network.weights import (
    State,
    index_of,
    is_checkpoint,
    key_of,
    load_checkpoint,
    load_darknet_weights,
    require_usable,
)
from ..pruning.importance.batch_norm import batch_norm_scale

_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_NAMES = ("min", "10%", "25%", "median", "75%", "90%", "max")
_NEAR_ZERO = 0.01


def read_weights(
    path: str | Path, layers: Sequence[Layer], cutoff: int | None = None
) -> tuple[State, str]:
    """The file's tensors (those of the layers before `cutoff`), and a line that says how it fits.

    Raises UserError for a file that does not fit or is none; of one that ends where a layer ends,
    it says so, as it may be a backbone.
    """
    if is_checkpoint(path):
        state: State = load_checkpoint(path)["model"]
        if cutoff is not None:
            state = {key: t for key, t in state.items() if index_of(key) < cutoff}
        _require_fit(state, layers[:cutoff], path)
        line = f"fits: {len(state)} tensors"
    else:
        state, line = _read_darknet(path, layers, cutoff)
    require_usable(state, str(path))
    return state, line


def _read_darknet(
    path: str | Path, layers: Sequence[Layer], cutoff: int | None
) -> tuple[State, str]:
    _, header = load_darknet_weights(path, layers, cutoff=0)
    held = (Path(path).stat().st_size - header.size) / 4
    sums = list(accumulate(sum(f.size for f in layer.loaded_fields()) for layer in layers))
    if cutoff is None and 0 < held < sums[-1] and held in sums:
        end = sums.index(int(held))
        raise UserError(
            f"{path}: does not fit: it holds {int(held):,} of {sums[-1]:,} numbers and ends where "
            f"layer {end} does; a backbone (read it with --cutoff {end + 1}) or a file cut short"
        )
    state, header = load_darknet_weights(path, layers, cutoff)
    count = sum(tensor.numel() for tensor in state.values())
    version = f"{header.major}.{header.minor}.{header.revision}"
    return state, f"fits: {count:,} numbers, version {version}, {header.seen:,} images seen"


def _require_fit(state: Mapping[str, Tensor], layers: Sequence[Layer], path: str | Path) -> None:
    wanted = {key_of(i.index, f.name): f.shape for i in layers for f in i.fields()}
    found = {key: tuple(tensor.shape) for key, tensor in state.items()}
    wrong = sorted(key for key in {**wanted, **found} if wanted.get(key) != found.get(key))
    if wrong:
        first = wrong[0]
        raise UserError(
            f"{path}: does not fit: {len(wrong)} tensors differ, the first {first}: the cfg needs "
            f"{wanted.get(first, 'none')}, the file has {found.get(first, 'none')}"
        )


def gamma_table(graph: ChannelGraph, state: Mapping[str, Tensor]) -> str:
    """Quantiles of |gamma| for each convolution with batch normalisation, and for all."""
    scores = batch_norm_scale(graph, state)
    rows = [["layer", "channels", *_NAMES, f"< {_NEAR_ZERO}"]]
    named = {str(index): values for index, values in scores.items()}
    if scores:
        named["all"] = np.concatenate(list(scores.values()))
    for name, values in named.items():
        quantiles = [f"{value:.4f}" for value in np.quantile(values, _QUANTILES)]
        rows.append([name, str(len(values)), *quantiles, f"{(values < _NEAR_ZERO).mean():.1%}"])
    return table(rows, right=range(len(rows[0])), framed=False)
