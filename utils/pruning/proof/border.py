"""What zero padding costs: the heads of the pruned network against the masked one's, whole.

Both run in float32 on one small input, layer after layer. The difference is printed, not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...network.layers import INPUT, Head, Layer, Params
from ..surgery import CutLayer
from .claims import Claims, Size
from .lent import LentModules


class Border:
    """Advances both networks, one layer at a time; `largest`: of the heads' maxima so far."""

    def __init__(self, claims: Claims, modules: LentModules, size: Size) -> None:
        self._claims = claims
        self._run = modules.run
        self.largest = 0.0
        full = claims.plan.graph.layers
        start = structured_input(full[0].inputs[0][0], size)[:1].float()
        self._masked: dict[int, Tensor] = {INPUT: start}
        self._compact: dict[int, Tensor] = {INPUT: start}
        self._unused_after_masked = _last_readers(full)
        self._unused_after_compact = _last_readers(claims.layers, claims.origin)

    def advance(self, cut: CutLayer, small: Layer | None, params: Params) -> None:
        """One layer on; `params`: those of `small`, as they are to be written."""
        layer = cut.layer
        masked = self._masked_value(cut)
        self._masked[layer.index] = masked
        for index in self._unused_after_masked.get(layer.index, ()):
            del self._masked[index]
        if small is None:
            return
        inputs = [self._compact[self._claims.origin(source)] for source in small.sources]
        owner = self._claims.layers[small.owner]
        ours = self._run(small, owner, params, inputs, "zeros")
        self._compact[small.index] = ours
        for index in self._unused_after_compact.get(small.index, ()):
            del self._compact[index]
        if isinstance(small, Head):
            theirs = masked[:, cut.kept] - cut.constants[cut.kept].float().view(1, -1, 1, 1)
            scale = theirs.abs().max().clamp(min=1e-30)
            self.largest = max(self.largest, float((theirs - ours).abs().max() / scale))

    def _masked_value(self, cut: CutLayer) -> Tensor:
        """Of the masked network; outputs that are known without are not run."""
        layer, kept = cut.layer, cut.kept
        owner = self._claims.plan.graph.layers[layer.owner]
        inputs = [self._masked[source] for source in layer.sources]
        some = bool(kept.any()) and not bool(kept.all())
        silent = layer.silent(cut.original, ~kept) if some else None
        if silent is None:
            value = self._run(layer, owner, layer.silence(cut.original, kept), inputs, "zeros")
            return layer.masked(value, kept)
        places = kept.nonzero().flatten()
        rows = {name: tensor.index_select(0, places) for name, tensor in cut.original.items()}
        found = self._run(layer, owner, rows, inputs, "zeros")
        value = found.new_empty((1, len(kept), *found.shape[2:]))
        value[:, places] = found
        value[:, ~kept] = silent.view(1, -1, 1, 1)
        return value


def structured_input(channels: int, size: Size) -> Tensor:
    """Two images (2, channels, H, W), float64, 0..1: smooth waves and noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.linspace(0, 6, length, dtype=torch.float64) for length in size)
    phase = torch.arange(2 * channels, dtype=torch.float64).view(2, channels, 1, 1)
    waves = (rows.view(-1, 1) + phase).sin() * (2 * columns + 0.7 * phase).cos()
    noise = torch.rand(2, channels, *size, generator=generator, dtype=torch.float64)
    return (waves + 1) / 4 + noise / 2


def _last_readers(
    layers: Sequence[Layer], origin: Callable[[int], int] = lambda index: index
) -> dict[int, list[int]]:
    """Layer -> those whose values nobody behind it reads; sources are looked up by `origin`."""
    last = {layer.index: layer.index for layer in layers if origin(layer.index) == layer.index}
    for layer in layers:
        for source in layer.sources:
            last[origin(source)] = layer.index
    found: dict[int, list[int]] = {}
    for index, reader in last.items():
        found.setdefault(reader, []).append(index)
    return found
