"""The gate: nothing is written before the pruned network is shown to equal the masked one.

Both networks run in float64 on a structured input, layer by layer, and every layer is compared,
relative to its own maximum, in two ways:

- with circular padding, the pruned network against the *original* with gamma set to 0 at the pruned
  channels. There the folded constants are exact everywhere, so this proves cut and folding;
- with the cfg's own padding, against the full-size network that holds the folded parameters and
  whose pruned channels are held at 0. This proves the cut as it will run.

And the float32 tensors to be written must be, bit for bit, the ones that were compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..cfg import Cfg, CfgError
from ..network.layers import INPUT, Head, Layer, PaddingMode, Params, build_layers
from ..network.weights import key_of
from .plan import PrunePlan
from .surgery import CutLayer, cut_layers, surviving

TOLERANCE = 1e-9


class GateError(Exception):
    """The pruned network is not the masked one; a fault of this program, not of its user."""


@dataclass(frozen=True)
class Proof:
    """Largest differences over all layers, each relative to its layer's maximum."""

    masked: float  # against the masked original, circular padding
    folded: float  # against the folded full-size network, own padding
    border: float  # heads against the masked original, own padding: what zero padding costs
    layers: int


@torch.inference_mode()
def prove(
    state: Mapping[str, Tensor], plan: PrunePlan, cfg: Cfg, pruned: Mapping[str, Tensor]
) -> Proof:
    """Compare the pruned `cfg` and state with the original state under `plan`.

    Raises GateError when any layer differs by more than 1e-9 of its maximum, or when a tensor in
    `pruned` is not the one that was proved.
    """
    size = _proof_size(cfg, plan.graph.layers)
    compact = build_layers(cfg, size)
    shells = _Shells()
    circular = _Lockstep(plan, compact, size, "circular", shells)
    zeros = _Lockstep(plan, compact, size, "zeros", shells)
    masked = folded = border = 0.0
    for cut in cut_layers(state, plan, torch.float64):
        shells.forget()
        silenced = cut.layer.silence(cut.original, cut.kept)
        theirs = circular.masked(cut.layer, silenced, cut.kept)
        theirs_folded = zeros.folded(cut.left, cut.folded, cut.kept)
        theirs_padded = zeros.masked(cut.layer, silenced, cut.kept)
        small = circular.place(cut.layer)
        if small is None:
            continue
        _require_same_tensors(cut, small, pruned)
        offset = cut.constants[cut.kept].view(1, -1, 1, 1)
        ours = circular.compact(small, cut.sliced) + offset
        masked = max(masked, _checked(theirs[:, cut.kept], ours, small, "the masked network"))
        ours = zeros.compact(small, cut.sliced)
        what = "the folded full-size network"
        folded = max(folded, _checked(theirs_folded[:, cut.kept], ours, small, what))
        if isinstance(small, Head):
            border = max(border, _difference(theirs_padded[:, cut.kept], ours + offset))
    return Proof(masked, folded, border, len(compact))


class _Lockstep:
    """Values of several networks on one input, advanced one layer at a time."""

    def __init__(
        self,
        plan: PrunePlan,
        compact: Sequence[Layer],
        size: tuple[int, int],
        padding: PaddingMode,
        shells: _Shells,
    ) -> None:
        self._padding: PaddingMode = padding
        self._shells = shells
        self._layers = {"compact": compact, "masked": plan.graph.layers}
        self._layers["folded"] = plan.layers
        start = structured_input(plan.graph.layers[0].inputs[0][0], size)[:1]
        self._values: dict[str, dict[int, Tensor]] = {
            name: {INPUT: start} for name in ("compact", "masked", "folded")
        }
        self._places = surviving(plan)
        # Layers that no layer of the full network is the origin of, the last first.
        placed = set(self._places.values())
        self._inserted = [i for i in range(len(compact) - 1, -1, -1) if i not in placed]
        self._last = {
            name: {source: layer.index for layer in layers for source in layer.sources}
            for name, layers in self._layers.items()
        }

    def place(self, layer: Layer) -> Layer | None:
        """The pruned network's layer for one of the full network, if it is still there."""
        index = self._places.get(layer.index)
        return None if index is None else self._layers["compact"][index]

    def compact(self, layer: Layer, params: Params) -> Tensor:
        """The pruned network's value of a layer, after those of any [route] put before it."""
        while self._inserted and self._inserted[-1] < layer.index:
            inserted = self._layers["compact"][self._inserted.pop()]
            self._advance("compact", inserted, {})
        return self._advance("compact", layer, params)

    def masked(self, layer: Layer, params: Params, kept: Tensor) -> Tensor:
        """The masked full-size network's value."""
        value = layer.masked(self._advance("masked", layer, params, kept), kept)
        if layer.index in self._values["masked"]:
            self._values["masked"][layer.index] = value
        return value

    def folded(self, layer: Layer, params: Params, kept: Tensor) -> Tensor:
        """The folded full-size network's value, with channels outside `kept` held at 0."""
        return self._advance("folded", layer, params, kept, mute=True)

    def _advance(
        self,
        name: str,
        layer: Layer,
        params: Params,
        kept: Tensor | None = None,
        mute: bool = False,
    ) -> Tensor:
        values = self._values[name]
        owner = self._layers[name][layer.owner]
        inputs = [values[source] for source in layer.sources]
        cut = kept is not None and bool(kept.any()) and not bool(kept.all())
        silent = layer.silent(params, ~kept) if cut and kept is not None else None
        if kept is None or silent is None:
            value = layer.forward(self._shells.module(owner, params, self._padding), inputs)
            if mute and kept is not None:
                value = value * kept.view(1, -1, 1, 1)
        else:
            module = self._shells.module(owner, params, self._padding, kept)
            rows = layer.forward(module, inputs)
            value = rows.new_empty((len(rows), len(kept), *rows.shape[2:]))
            value[:, kept] = rows
            value[:, ~kept] = 0 if mute else silent.view(1, -1, 1, 1)
        values[layer.index] = value
        last = self._last[name]
        for source in [s for s in values if last.get(s, INPUT) <= layer.index]:
            if source != layer.index:
                del values[source]
        return value


def structured_input(channels: int, size: tuple[int, int]) -> Tensor:
    """Two images (2, channels, H, W), float64, 0..1: smooth waves and noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.linspace(0, 6, length, dtype=torch.float64) for length in size)
    phase = torch.arange(2 * channels, dtype=torch.float64).view(2, channels, 1, 1)
    waves = (rows.view(-1, 1) + phase).sin() * (2 * columns + 0.7 * phase).cos()
    noise = torch.rand(2, channels, *size, generator=generator, dtype=torch.float64)
    return (waves + 1) / 4 + noise / 2


def _proof_size(cfg: Cfg, layers: Sequence[Layer]) -> tuple[int, int]:
    """A small input, not square, whose smallest feature map is 2 x 3; the cfg's if that fails."""
    _, height, width = layers[0].inputs[0]
    maps = [layer.shape[1:] for layer in layers if min(layer.shape[1:]) > 1]
    stride = max((max(height // h, width // w) for h, w in maps), default=1)
    small = min(height, 2 * stride), min(width, 3 * stride)
    try:
        fields = [layer.fields() for layer in build_layers(cfg, small)]
    except CfgError:
        return height, width
    fits = fields == [layer.fields() for layer in build_layers(cfg)]
    return small if fits else (height, width)


class _Shells:
    """Modules without numbers of their own, built once a layer: that takes longer than running."""

    def __init__(self) -> None:
        self._built: dict[int, tuple[nn.Module, dict[str, _Slot]]] = {}
        self._rows: dict[int, tuple[Params, Params]] = {}

    def forget(self) -> None:
        """Let go of all, and of the tensors in them."""
        self._built.clear()
        self._rows.clear()

    def module(
        self, layer: Layer, params: Params, padding: PaddingMode, kept: Tensor | None = None
    ) -> nn.Module:
        """The module of a layer with these parameters, until the next call for that layer.

        With `kept`, a convolution's with these outputs only. Raises GateError for parameters of
        other names or shapes than the layer's.
        """
        if id(layer) not in self._built:
            with torch.device("meta"):
                built = layer.module("zeros").eval()
            self._built[id(layer)] = built, dict(_slots(built))
        module, slots = self._built[id(layer)]
        if {name: tensor.shape for name, tensor in params.items()} != {
            name: slot.shape for name, slot in slots.items()
        }:
            raise GateError(f"layer {layer.index}: its tensors are not those of its section")
        given = params if kept is None else self._rows_of(params, kept)
        for name, slot in slots.items():
            slot.table[slot.name] = slot.kind(given[name])
        for part in module.modules():
            if hasattr(part, "padding_mode"):
                setattr(part, "padding_mode", padding)  # noqa: B010 - a module's, of any class
        return module

    def _rows_of(self, params: Params, kept: Tensor) -> Params:
        """What the same parameters hold for the kept outputs; two networks ask for each."""
        if id(params) not in self._rows:
            rows = {name: tensor[kept] for name, tensor in params.items()}
            self._rows[id(params)] = params, rows  # the first keeps its id from being another's
        return self._rows[id(params)][1]


class _Slot(NamedTuple):
    """Where a tensor of a module is kept."""

    table: dict[str, Any]
    name: str
    shape: torch.Size
    kind: Callable[[Tensor], Tensor]


def _slots(module: nn.Module) -> Iterator[tuple[str, _Slot]]:
    """By the names of its state."""
    for prefix, part in module.named_modules():
        for table, kind in ((part._parameters, _held), (part._buffers, _as_it_is)):
            for name, tensor in table.items():
                if tensor is not None:
                    full = f"{prefix}.{name}" if prefix else name
                    yield full, _Slot(table, name, tensor.shape, kind)


def _held(tensor: Tensor) -> Tensor:
    return nn.Parameter(tensor, requires_grad=False)


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _require_same_tensors(cut: CutLayer, small: Layer, pruned: Mapping[str, Tensor]) -> None:
    for name, tensor in cut.sliced.items():
        written = pruned.get(key_of(small.owner, name))
        if written is None or not torch.equal(tensor.to(written.dtype), written):
            raise GateError(f"layer {small.index}: {name} is not the tensor that was proved")


def _checked(theirs: Tensor, ours: Tensor, layer: Layer, what: str) -> float:
    error = _difference(theirs, ours)
    if not error <= TOLERANCE:
        raise GateError(
            f"layer {layer.index} [{layer.kind}] of the pruned network differs from {what} by "
            f"{error:.1e} of its maximum; nothing was written"
        )
    return error


def _difference(theirs: Tensor, ours: Tensor) -> float:
    if theirs.shape != ours.shape:
        return float("inf")
    scale = theirs.abs().max().clamp(min=1e-300)
    return float((theirs - ours).abs().max() / scale)
