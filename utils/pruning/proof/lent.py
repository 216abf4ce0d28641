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


class _Lent(NamedTuple):
    """A module, where its tensors are kept, its parts that pad, and whether others borrow it."""

    module: nn.Module
    slots: Mapping[str, _Slot]
    padding: tuple[nn.Module, ...]
    shared: bool


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
        padding: PaddingMode = "zeros",
    ) -> Tensor:
        """What `layer` makes of its inputs with these parameters, of which some rows may be left.

        `owner` is the layer whose parameters they are. Raises KeyError where they are not those
        that its module has.
        """
        lent = self._of(owner)
        if lent.slots.keys() != params.keys():
            raise KeyError(f"{sorted(params)} in the place of {sorted(lent.slots)}")
        for name, (table, key) in lent.slots.items():
            # Only a module that asks for its parameters by name cares that they are some.
            given = params[name]
            table[key] = given if lent.shared else nn.Parameter(given, requires_grad=False)
        for part in lent.padding:
            part.__dict__["padding_mode"] = padding  # no tensor: a tenth of the time of setattr
        return layer.forward(lent.module, inputs)

    def pads(self, layer: Layer) -> bool:
        """Whether its padding may be another one."""
        return bool(self._of(layer).padding)

    def _of(self, layer: Layer) -> _Lent:
        options = layer.module_options
        # The layer itself stays in the key, so that its id is not given to another one.
        key = (layer,) if options is None else (type(layer), options)
        found = self._built.get(key)
        if found is None:
            with torch.device("meta"):
                module = layer.module("zeros").eval()
            parts = tuple(part for part in module.modules() if hasattr(part, "padding_mode"))
            found = _Lent(module, dict(_slots(module)), parts, options is not None)
            self._built[key] = found
        return found


def _slots(module: nn.Module) -> list[tuple[str, _Slot]]:
    """By the names of its state."""
    return [
        (f"{prefix}.{name}" if prefix else name, _Slot(table, name))
        for prefix, part in module.named_modules()
        for table in (part._parameters, part._buffers)
        for name, tensor in table.items()
        if tensor is not None
    ]
