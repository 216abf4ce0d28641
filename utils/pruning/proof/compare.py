"""One layer of the pruned network against its full one, on values for which the claim holds.

Two comparisons, in float64:

- as it will run, its own padding: against the *folded* full-size layer. Folding moves a number into
  a mean or bias, and shows as one and the same number at every cell;
- with circular padding, where folded constants are exact everywhere: against the *masked* layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ...network.layers import INPUT, Layer, Params
from ..surgery import CutLayer, folded
from .claims import Cells, Claims, Numbers, Size, Values, few_cells
from .lent import LentModules

_CONSTANT = 1e-9  # by what a value may differ from its constant, of its maximum
_CACHED_NUMBERS = 1 << 18  # of a kernel in float64 at once: 2 MiB


class UnequalError(Exception):
    """A layer that cannot even be compared: its tensors or channels are other ones."""


@dataclass
class Differences:
    """The largest one of a comparison, and the largest value."""

    largest: float = 0.0
    scale: float = 1e-300

    def see(self, theirs: Tensor, ours: Tensor, but_for_offsets: bool = False) -> None:
        """Take in two values (1, C, H, W); `but_for_offsets`: a number for each channel is free.

        Raises UnequalError where their shapes differ.
        """
        if theirs.shape != ours.shape:
            raise UnequalError(f"{tuple(ours.shape)} in the place of {tuple(theirs.shape)}")
        if not theirs.numel():
            return
        found = theirs - ours
        if but_for_offsets:
            found -= found[:, :, :1, :1].clone()
        error, value = torch.stack((found.abs().max(), theirs.abs().max())).tolist()
        # NaN equals nothing, and must not get lost in a maximum.
        if self.largest == self.largest and not error <= self.largest:
            self.largest = error
        self.scale = max(self.scale, value)

    @property
    def relative(self) -> float:
        """By the layer's maximum."""
        return self.largest / self.scale


class Errors(NamedTuple):
    """Of one layer, relative to its maximum."""

    masked: float
    folded: float


class Comparison:
    """Compares layer after layer, each on numbers of its own."""

    def __init__(self, claims: Claims, modules: LentModules) -> None:
        self._claims = claims
        self._modules = modules
        self._run = modules.run
        self._numbers = Numbers()
        channels = claims.plan.graph.layers[0].inputs[0][0]
        self._constants = {INPUT: torch.zeros(channels, dtype=torch.float64)}

    def layer(self, cut: CutLayer, small: Layer | None) -> Errors:
        """The full layer against `small`, that of the pruned network; None where it has none.

        Layers come in the network's order. Raises UnequalError where there is nothing to compare.
        """
        index = cut.layer.index
        self._constants[index] = cut.constants
        inside = index in self._claims.plan.silent
        if not inside and self._claims.open.intersection(cut.layer.sources):
            raise UnequalError("it reads what is no constant inside a block that goes")
        cells = few_cells(cut.layer)
        if small is None or cells is None or not _row_by_row(cut, small):
            errors = self._whole(cut, small, cells)
            if inside and not errors.masked <= _CONSTANT:
                self._claims.open.add(index)
                return Errors(0.0, 0.0)
            return errors
        if cut.layer.activation != small.activation:
            raise UnequalError(f"{small.activation} in the place of {cut.layer.activation}")
        return self._rows(cut, small, cells)

    def hands_on(self, inserted: Layer) -> bool:
        """Whether a layer that was put in gives what its source gives, and nothing else."""
        value = self._numbers.draw((1, *inserted.inputs[0]))
        found = self._run(inserted, inserted, {}, [value])
        return len(inserted.sources) == 1 and torch.equal(found, value)

    def _rows(self, cut: CutLayer, small: Layer, cells: Cells) -> Errors:
        """Outputs that stay, a few at a time and before activation; then what the others emit.

        The full layer is run on its inputs as the folded network holds them; and as the masked one
        does, where no padding is met: there is none to differ by.
        """
        full, compact = cut.layer.before_activation(), small.before_activation()
        values = self._values(full, [cells.size] * len(full.sources))
        inputs = [values.full(source) for source in full.sources]
        read = (slice(None), slice(None), *cells.read)
        as_masked = [values.full(source, self._constants[source])[read] for source in full.sources]
        ours = [values.compact(source) for source in small.sources]
        own, masked = Differences(), Differences()
        rows, inside = cut.kept.nonzero().flatten(), (slice(None), slice(None), *cells.inside)
        offsets = cut.constants.index_select(0, rows).view(1, -1, 1, 1)
        step = max(1, _CACHED_NUMBERS // sum(t[0].numel() for t in cut.original.values()))
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            params = {n: t.index_select(0, rows[some]).double() for n, t in cut.original.items()}
            theirs = self._run(full, cut.layer, params, inputs)
            theirs_masked = self._run(full, cut.layer, params, as_masked, "none")
            sliced = {n: t[some].double() for n, t in cut.sliced.items()}
            found = self._run(compact, small, sliced, ours)
            own.see(theirs, found, but_for_offsets=True)
            masked.see(theirs_masked - offsets[:, some], found[inside])
        removed = ~cut.kept
        emitted = cut.layer.silent(_vectors(cut.original), removed)
        assert emitted is not None  # or it would not be compared row by row
        masked.see(_flat(emitted), _flat(cut.constants[removed]))
        return Errors(masked.relative, own.relative)

    def _whole(self, cut: CutLayer, small: Layer | None, cells: Cells | None) -> Errors:
        """All of the layer as it is, activation included."""
        layer, layers = cut.layer, self._claims.plan.graph.layers
        sizes = [cells.size] * len(layer.sources) if cells else _own_sizes(layer, small)
        values = self._values(layer, sizes)
        inputs = [values.full(source, self._constants[source]) for source in layer.sources]
        silenced = layer.silence(_double(cut.original), cut.kept)
        theirs = self._run(layer, layers[layer.owner], silenced, inputs, "circular")
        reduced = layer.masked(theirs, cut.kept) - _flat(cut.constants)
        own, circular = Differences(), Differences()
        circular.scale = max(circular.scale, float(theirs.abs().max()))
        stays = reduced[:, cut.kept]
        circular.see(reduced[:, ~cut.kept], self._of_removed(cut, reduced))
        if small is None:
            if len(stays[0]):
                circular.see(stays, values.compact(self._claims.stands_for(layer.index)))
            return Errors(circular.relative, 0.0)
        owner, sliced = self._claims.layers[small.owner], _double(cut.sliced)
        ours = [values.compact(source) for source in small.sources]
        circular.see(stays, self._run(small, owner, sliced, ours, "circular"))
        left = cut.left
        params = folded(left, _double(cut.whole), cut.incoming, cut.merges)
        inputs = [values.full(source) for source in left.sources]
        theirs = self._run(left, layers[left.owner] if left is layer else left, params, inputs,
                           "zeros")  # fmt: skip
        own.see(theirs[:, cut.kept], self._run(small, owner, sliced, ours, "zeros"))
        return Errors(circular.relative, own.relative)

    def _of_removed(self, cut: CutLayer, reduced: Tensor) -> Tensor:
        """What the removed channels must be once their constants are off: 0, or the repeated."""
        wanted = torch.zeros_like(reduced)
        merge = self._claims.plan.merges.get(cut.layer.index)
        for first, repeated in merge.parts if merge else ():
            wanted[:, repeated] = reduced[:, first]
        return wanted[:, ~cut.kept]

    def _values(self, layer: Layer, sizes: Sequence[Size]) -> Values:
        """Values of the layer's sources, one size each."""
        places = [self._claims.stands_for(source) for source in layer.sources]
        return Values(self._claims, dict(zip(places, sizes, strict=True)), self._numbers)


def _row_by_row(cut: CutLayer, small: Layer) -> bool:
    """Whether outputs can be run one without the other, and before their activation.

    A constant on a channel that stays is added behind the activation.
    """
    layer = cut.layer
    if cut.left is not layer or not (layer.sums_inputs and small.sums_inputs):
        return False
    if layer.silent(_vectors(cut.original), _NONE.expand(len(cut.kept))) is None:
        return False
    return layer.activation == "linear" or not bool(cut.constants[cut.kept].any())


_NONE = torch.zeros(1, dtype=torch.bool)


def _own_sizes(layer: Layer, small: Layer | None) -> list[Size]:
    """Of its sources' maps, in the small input of the proof if it is known."""
    known = small is not None and len(small.inputs) == len(layer.inputs)
    inputs = small.inputs if small is not None and known else layer.inputs
    return [(height, width) for _, height, width in inputs]


def _double(params: Params) -> Params:
    return {name: tensor.double() for name, tensor in params.items()}


def _vectors(params: Params) -> Params:
    """The numbers per channel, in float64."""
    return {name: tensor.double() for name, tensor in params.items() if tensor.dim() == 1}


def _flat(numbers: Tensor) -> Tensor:
    """(C,) as a map of one cell."""
    return numbers.view(1, -1, 1, 1)
