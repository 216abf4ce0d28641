"""The gate: nothing is written before the pruned network is shown to equal the masked one.

Layer by layer, in float64, from the network's input to its heads: if what a layer reads is in both
networks the same, but for the constants of `surgery`, so is what it gives. Each layer is shown
random values of its own for which that holds, and compared in two ways, relative to its
own maximum:

- with circular padding, the pruned network against the *original* with gamma set to 0 at the pruned
  channels. There the folded constants are exact everywhere, so this proves cut and folding;
- with the cfg's own padding, against the full-size network that holds the folded parameters and
  whose pruned channels are held at 0. This proves the cut as it will run.

And the float32 tensors to be written must be, bit for bit, the ones that were compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...cfg import Cfg, CfgError
from ...network.layers import Layer, Params, build_layers
from ...network.weights import key_of
from ..plan import PrunePlan
from ..surgery import CutLayer, cut_layers
from .border import Border
from .claims import Claims, Size
from .compare import Comparison, Errors, UnequalError
from .lent import LentModules

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
    compact, size = _small_layers(cfg, plan.graph.layers, pruned)
    claims, modules = Claims(plan, compact), LentModules()
    comparison, border = Comparison(claims, modules), Border(claims, modules, size)
    for layer in claims.inserted:
        if not comparison.hands_on(layer):
            raise GateError(f"layer {layer.index} [{layer.kind}] is not in the masked network")
    masked = folded = 0.0
    for cut in cut_layers(state, plan, exact=True):
        index = claims.places.get(cut.layer.index)
        small = None if index is None else compact[index]
        written = {} if small is None else _written(cut, compact[small.owner], pruned)
        errors = _compared(comparison, cut, small)
        masked, folded = max(masked, errors.masked), max(folded, errors.folded)
        border.advance(cut, small, written)
    return Proof(masked, folded, border.largest, len(compact))


def _compared(comparison: Comparison, cut: CutLayer, small: Layer | None) -> Errors:
    """One layer's differences. Raises GateError where they are too large, or cannot be told."""
    which = cut.layer if small is None else small
    try:
        errors = comparison.layer(cut, small)
    except (UnequalError, KeyError, IndexError, ValueError, RuntimeError) as error:
        raise GateError(
            f"layer {which.index} [{which.kind}] of the pruned network cannot be compared with "
            f"the masked one's ({error}); nothing was written"
        ) from error
    whats = ("the masked network", "the folded full-size network")
    for found, what in zip(errors, whats, strict=True):
        if not found <= TOLERANCE:
            raise GateError(
                f"layer {which.index} [{which.kind}] of the pruned network differs from {what} by "
                f"{found:.1e} of its maximum; nothing was written"
            )
    return errors


def _written(cut: CutLayer, owner: Layer, pruned: Mapping[str, Tensor]) -> Params:
    """What is to be written for a layer. Raises GateError unless it is what is compared."""
    shapes = {field.name: field.shape for field in owner.fields()}
    if {name: tuple(tensor.shape) for name, tensor in cut.sliced.items()} != shapes:
        raise GateError(f"layer {owner.index}: its tensors are not those of its section")
    found = {}
    for name, tensor in cut.sliced.items():
        written = pruned.get(key_of(owner.index, name))
        if written is None or not torch.equal(tensor.to(written.dtype), written):
            raise GateError(f"layer {owner.index}: {name} is not the tensor that was proved")
        found[name] = written
    return found


def _small_layers(
    cfg: Cfg, layers: Sequence[Layer], pruned: Mapping[str, Tensor]
) -> tuple[tuple[Layer, ...], Size]:
    """The pruned network's layers for a small input, not square, and its size.

    The smallest feature map is 2 x 3 then; the cfg's own size where that does not fit its tensors.
    """
    _, height, width = layers[0].inputs[0]
    maps = [layer.shape[1:] for layer in layers if min(layer.shape[1:]) > 1]
    stride = max((max(height // h, width // w) for h, w in maps), default=1)
    size = min(height, 2 * stride), min(width, 3 * stride)
    try:
        found = build_layers(cfg, size)
    except CfgError:
        return build_layers(cfg), (height, width)
    for layer in found:
        for field in layer.fields():
            tensor = pruned.get(key_of(layer.index, field.name))
            if tensor is None or tuple(tensor.shape) != field.shape:
                return build_layers(cfg), (height, width)
    return found, size
