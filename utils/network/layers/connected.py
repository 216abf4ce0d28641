"""`[connected]`: a fully connected layer over the flattened input (dialect: section 5)."""

from __future__ import annotations

from collections.abc import Sequence

from ...cfg import Section
from ...command.later import torch
from .activations import ELEMENTWISE
from .base import (
    WHOLE,
    Field,
    Layer,
    Module,
    PaddingMode,
    Params,
    Shape,
    Tensor,
    Window,
    apply_to_removed,
    picked,
    places_of,
    weighed,
)
from .normalization import BN_FIELDS, shift_mean, slice_batch_norm
from .ties import Ids, Mask, Ties


class Connected(Layer):
    """out = activation(norm(W x)), x in the order channels, rows, columns."""

    kind = "connected"
    sums_by_batch = True

    def infer_shape(self) -> Shape:
        """(output, 1, 1)."""
        self.outputs = self.section.integer("output", 1)
        self.normalized = self.section.flag("batch_normalize")
        self.activation = self.activation_name("logistic")
        return self.outputs, 1, 1

    @property
    def _positions(self) -> int:
        return self.inputs[0][1] * self.inputs[0][2]

    def fields(self) -> tuple[Field, ...]:
        """Bias, weights, and the other BN arrays after them."""
        vector, inputs = (self.outputs,), self.inputs[0][0] * self._positions
        weight = Field("fc.weight", (self.outputs, inputs), transposed_in_old_files=True)
        if not self.normalized:
            return Field("fc.bias", vector), weight
        bias, *others = (Field(name, vector) for name in BN_FIELDS)
        return (bias, weight, *others)

    def macs(self) -> int:
        """One per weight."""
        return self.outputs * self.inputs[0][0] * self._positions

    def window(self, axis: int, source: int) -> Window:
        """All of it."""
        return WHOLE

    def traits(self) -> str:
        """Its activation."""
        return self.activation

    def module(self, padding_mode: PaddingMode = "zeros") -> Module:
        """`fc.weight` (and `fc.bias` or `bn.*`)."""
        from .modules import ConnectedModule, DarknetBatchNorm  # torch's own kind: it loads torch

        inputs = self.inputs[0][0] * self._positions
        fc = torch.nn.Linear(inputs, self.outputs, bias=not self.normalized)
        return ConnectedModule(fc, DarknetBatchNorm(self.outputs) if self.normalized else None)

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(B, output, 1, 1)."""
        from .modules import ConnectedModule

        assert isinstance(module, ConnectedModule)
        x = module.fc(inputs[0].flatten(1)).view(-1, self.outputs, 1, 1)
        if module.bn is not None:
            x = module.bn(x)
        return ELEMENTWISE[self.activation](x)

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """Fresh ids."""
        return ties.issue(self.index, self.outputs)

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """A pruned output emits activation(bias)."""
        bias = params["bn.bias" if self.normalized else "fc.bias"].double()
        emitted = torch.where(kept, torch.zeros_like(bias), bias)
        return apply_to_removed(emitted, kept, ELEMENTWISE[self.activation], self.activation)

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """The pruned outputs' own; those of the inputs are absorbed."""
        return ~kept

    def silence(self, params: Params, kept: Tensor) -> Params:
        """Gamma, or without BN the weights, are 0 at the pruned outputs."""
        name = "bn.weight" if self.normalized else "fc.weight"
        return {**params, name: params[name] * kept.view(-1, *(1,) * (params[name].dim() - 1))}

    def absorb(self, params: Params, inputs: Sequence[Tensor]) -> Params:
        """Each input channel's constant stands at all its positions."""
        constant = inputs[0].repeat_interleave(self._positions)
        shift = weighed(params["fc.weight"], constant)
        if self.normalized:
            return shift_mean(params, -shift)
        bias = params["fc.bias"]
        return {**params, "fc.bias": (bias.double() + shift).to(bias.dtype)}

    def slice(self, params: Params, keeps: Sequence[Tensor], kept: Tensor) -> Params:
        """Rows by the output mask, columns by the input mask at every position."""
        columns = keeps[0].repeat_interleave(self._positions)
        rows = places_of(kept)
        weight = picked(picked(params["fc.weight"], rows), places_of(columns), 1)
        if self.normalized:
            return {**slice_batch_norm(params, kept), "fc.weight": weight}
        return {"fc.bias": picked(params["fc.bias"], rows), "fc.weight": weight}

    def rewrite(self, keeps: Sequence[Tensor], kept: Tensor) -> Section:
        """`output`."""
        return self.with_count("output", kept)
