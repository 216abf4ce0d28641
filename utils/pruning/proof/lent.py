"""Modules without numbers of their own, lent to one layer after the other.

Building one takes longer than running it on the few cells of a proof.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...network.layers import Layer, PaddingMode, Params


class _Slot(NamedTuple):
    """Where a tensor of a module is kept."""

    table: dict[str, Any]
    name: str
    is_parameter: bool


class _Lent(NamedTuple):
    """A module, where its tensors are kept, and its parts that pad."""

    module: nn.Module
    slots: Mapping[str, _Slot]
    padding: tuple[nn.Module, ...]


class LentModules:
    """Runs layers with any parameters of theirs."""

    def __init__(self) -> None:
        self._built: dict[Hashable, _Lent] = {}

    def run(
        self,
        layer: Layer,
        owner: Layer,
        params: Params,
        inputs: Sequence[Tensor],
        padding: PaddingMode,
    ) -> Tensor:
        """What `layer` makes of its inputs with these parameters, of which some rows may be left.

        `owner` is the layer whose parameters they are. Raises KeyError where they are not those
        that its module has.
        """
        lent = self._of(owner)
        if lent.slots.keys() != params.keys():
            raise KeyError(f"{sorted(params)} in the place of {sorted(lent.slots)}")
        for name, slot in lent.slots.items():
            tensor = params[name]
            slot.table[slot.name] = (
                nn.Parameter(tensor, requires_grad=False) if slot.is_parameter else tensor
            )
        for part in lent.padding:
            setattr(part, "padding_mode", padding)  # noqa: B010 - a module's, of any class
        return layer.forward(lent.module, inputs)

    def _of(self, layer: Layer) -> _Lent:
        options = layer.module_options
        # The layer itself stays in the key, so that its id is not given to another one.
        key = (layer,) if options is None else (type(layer), options)
        found = self._built.get(key)
        if found is None:
            with torch.device("meta"):
                module = layer.module("zeros").eval()
            parts = tuple(part for part in module.modules() if hasattr(part, "padding_mode"))
            found = self._built[key] = _Lent(module, dict(_slots(module)), parts)
        return found


def _slots(module: nn.Module) -> list[tuple[str, _Slot]]:
    """By the names of its state."""
    return [
        (f"{prefix}.{name}" if prefix else name, _Slot(table, name, table is part._parameters))
        for prefix, part in module.named_modules()
        for table in (part._parameters, part._buffers)
        for name, tensor in table.items()
        if tensor is not None
    ]
