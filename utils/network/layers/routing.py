"""Layers that join or pass on others: `[route]`, `[shortcut]`, `[dropout]` (sections 5 to 7)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from ...cfg import Section, references, set_option
from ...command.later import torch
from .activations import ELEMENTWISE
from .base import (
    Field,
    Layer,
    Module,
    PaddingMode,
    Params,
    Shape,
    Tensor,
    apply_to_removed,
    carried_by_removed,
)
from .ties import Ids, Mask, Ties

_WEIGHT_SUM_EPS = 1e-4


class Route(Layer):
    """Channels of its sources one after the other; with `groups`, one equal part of each."""

    kind = "route"

    @classmethod
    def read_sources(cls, section: Section, index: int) -> tuple[int, ...]:
        """`layers`, in their order."""
        found = references(section, index, "layers")
        if not found:
            raise section.error("names no layer", "layers")
        return found

    def infer_shape(self) -> Shape:
        """The sum of the channels; all sources must have one size."""
        self.groups = self.section.integer("groups", 1)
        self.group_id = self.section.integer("group_id", 0)
        if self.groups < 1 or not 0 <= self.group_id < self.groups:
            raise self.error(f"must lie in 0..{self.groups - 1}", "group_id")
        self.require_same_size(self.inputs)
        for source, shape in zip(self.sources, self.inputs, strict=True):
            if shape[0] % self.groups:
                message = f"the {shape[0]} channels of layer {source} do not divide into them"
                raise self.error(message, "groups")
        channels = sum(shape[0] // self.groups for shape in self.inputs)
        return channels, *self.inputs[0][1:]

    @property
    def hands_on(self) -> bool:  # type: ignore[override]
        """With one source."""
        return len(self.sources) == 1

    @property
    def concatenates(self) -> tuple[int, ...]:
        """Its sources, unless it takes parts of them."""
        return self.sources if self.groups == 1 else ()

    def naming(self, section: Section, positions: Sequence[int]) -> Section:
        """`layers` with the numbers at `positions`, written as they are."""
        numbers = section.integers("layers")
        return set_option(section, "layers", ",".join(str(numbers[k]) for k in positions))

    def traits(self) -> str:
        """Which part of its sources it takes."""
        return f"part {self.group_id + 1} of {self.groups}" if self.groups > 1 else ""

    def _part(self, count: int) -> slice:
        size = count // self.groups
        return slice(self.group_id * size, (self.group_id + 1) * size)

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(B, sum of C / groups, H, W)."""
        # A whole slice is one more node of a graph that is exported.
        cut = self.groups > 1
        parts = [x[:, self._part(x.shape[1])] if cut else x for x in inputs]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """The same ids; a cfg can only cut equal parts, so the parts keep equal counts."""
        if self.groups > 1:
            for ids in inputs:
                ties.keep_parts_equal(ids.reshape(self.groups, -1))
        return np.concatenate([ids[self._part(len(ids))] for ids in inputs])

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """As the channels."""
        return torch.cat([x[self._part(len(x))] for x in inputs])

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """As the channels."""
        return np.concatenate([mask[self._part(len(mask))] for mask in inputs])


class Shortcut(Layer):
    """Sum of the layer before and the layers `from`, weighted on request, then an activation."""

    kind = "shortcut"
    joins_branch = True

    @classmethod
    def read_sources(cls, section: Section, index: int) -> tuple[int, ...]:
        """The layer before, then `from` in order."""
        found = references(section, index, "from")
        if not found:
            raise section.error("names no layer", "from")
        return (index - 1, *found)

    def infer_shape(self) -> Shape:
        """That of the layer before; the others must have its height and width."""
        self.activation = self.activation_name("linear")
        self.weights_type = self.section.text("weights_type", "none")
        self.normalization = self.section.text("weights_normalization", "none")
        if self.weights_type not in ("none", "per_feature", "per_layer", "per_channel"):
            raise self.error(f"unknown kind '{self.weights_type}'", "weights_type")
        if self.normalization not in ("none", "relu", "avg_relu", "softmax"):
            raise self.error(f"unknown kind '{self.normalization}'", "weights_normalization")
        if self.weighted and self.normalization == "none":
            raise self.error("must be relu or softmax with weights_type", "weights_normalization")
        self.require_same_size(self.inputs)
        return self.inputs[0]

    def traits(self) -> str:
        """Its weights and activation, if it has any."""
        parts = [self.weights_type] if self.weighted else []
        return " ".join(parts + ([self.activation] if self.activation != "linear" else []))

    @property
    def identity_source(self) -> int | None:
        """`from`, in a plain sum of two values of one shape."""
        plain = len(self.sources) == 2 and not self.weighted
        if plain and self.inputs[0] == self.inputs[1]:
            return self.sources[1]
        return None

    @property
    def weighted(self) -> bool:
        """Whether it owns weights."""
        return self.weights_type != "none"

    def fields(self) -> tuple[Field, ...]:
        """One weight per input, or per input and channel."""
        if not self.weighted:
            return ()
        per_input = self.shape[0] if self.weights_type == "per_channel" else 1
        return (Field("weights", (len(self.inputs), per_input)),)

    def module(self, padding_mode: PaddingMode = "zeros") -> Module:
        """`weights`, all 1."""
        module = torch.nn.Module()
        for field in self.fields():
            module.register_parameter(field.name, torch.nn.Parameter(torch.ones(field.shape)))
        return module

    def _normalized(self, weights: Tensor) -> Tensor:
        if self.normalization == "softmax":
            positive = (weights - weights.amax(0)).exp()
        else:
            positive = torch.nn.functional.relu(weights)
        return positive / (_WEIGHT_SUM_EPS + positive.sum(0))

    def _sum(self, inputs: Sequence[Tensor], weights: Tensor | None) -> Tensor:
        """Over dimension 1: each input adds what channels it has, up to those of the first."""
        channels = inputs[0].shape[1]
        terms = []
        for k, x in enumerate(inputs):
            term = _fit_channels(x, channels)
            if weights is not None:
                scale = self._normalized(weights)[k].to(x.dtype)
                term = term * scale.view(1, -1, *(1,) * (x.dim() - 2))
            terms.append(term)
        return reduce(torch.add, terms)

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(B, C, H, W) of the layer before."""
        weights = module.get_parameter("weights") if self.weighted else None
        return ELEMENTWISE[self.activation](self._sum(inputs, weights))

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """Channels that are added are tied."""
        for other in inputs[1:]:
            common = min(len(inputs[0]), len(other))
            ties.add_up(inputs[0][:common], other[:common])
        return inputs[0]

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """Their (weighted) sum, through the activation."""
        weights = params["weights"].double() if self.weighted else None
        total = self._sum([x.view(1, -1) for x in inputs], weights).flatten()
        if self.activation == "linear":
            return total
        return apply_to_removed(total, kept, ELEMENTWISE[self.activation], self.activation)

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """Where any has one; through an activation only on pruned channels."""
        total: Mask = inputs[0].copy()
        for other in inputs[1:]:
            common = min(len(total), len(other))
            total[:common] |= other[:common]
        if self.activation == "linear":
            return total
        return carried_by_removed([total], kept, self.activation)

    def slice(self, params: Params, keeps: Sequence[Tensor], kept: Tensor) -> Params:
        """Weights per channel follow the channels."""
        if self.weights_type != "per_channel":
            return params
        return {"weights": params["weights"][:, kept]}


def _fit_channels(x: Tensor, channels: int) -> Tensor:
    """`x` cut to, or filled with zeros up to, `channels` in dimension 1."""
    missing = channels - x.shape[1]
    if missing <= 0:
        return x[:, :channels]
    return torch.nn.functional.pad(x, (0, 0) * (x.dim() - 2) + (0, missing))


class Dropout(Layer):
    """Identity at inference; drops values (probability .5 by default) in training."""

    kind = "dropout"
    hands_on = True

    def infer_shape(self) -> Shape:
        """Unchanged."""
        self.probability = self.section.number("probability", 0.5)
        if not 0 <= self.probability <= 1:
            raise self.error("must lie between 0 and 1", "probability")
        return self.inputs[0]

    def module(self, padding_mode: PaddingMode = "zeros") -> Module:
        """The dropout of torch."""
        return torch.nn.Dropout(self.probability)

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """The module's mode decides."""
        x: Tensor = module(inputs[0])
        return x
