"""Layers that work on each value, or scale one by another (dialect: sections 5 and 8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...cfg import Section, references
from ...command.errors import UserError
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
    carried_by_removed,
    require_no_constant,
)
from .ties import Ids, Mask, Ties


class Activation(Layer):
    """An activation function on its own."""

    kind = "activation"

    def infer_shape(self) -> Shape:
        """Unchanged."""
        self.activation = self.activation_name("linear")
        return self.inputs[0]

    def traits(self) -> str:
        """Its name."""
        return self.activation

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(B, C, H, W)."""
        return ELEMENTWISE[self.activation](inputs[0])

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """Through the function."""
        if self.activation == "linear":
            return inputs[0]
        return apply_to_removed(inputs[0], kept, ELEMENTWISE[self.activation], self.activation)

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """Through the function."""
        if self.activation == "linear":
            return inputs[0]
        return carried_by_removed(inputs, kept, self.activation)


class _Product(Layer):
    """activation(layer before * layer `from`)."""

    @classmethod
    def read_sources(cls, section: Section, index: int) -> tuple[int, ...]:
        """The layer before, then `from`."""
        found = references(section, index, "from")
        if len(found) != 1:
            raise section.error("must name one layer", "from")
        return (index - 1, *found)

    def infer_shape(self) -> Shape:
        """That of `from`."""
        self.activation = self.activation_name("linear")
        self._check()
        return self.inputs[1]

    def _check(self) -> None:
        """Raise CfgError for shapes that cannot be multiplied."""

    def traits(self) -> str:
        """Its activation, if it has one."""
        return "" if self.activation == "linear" else self.activation

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(B, C, H, W) of `from`."""
        return ELEMENTWISE[self.activation](inputs[0] * inputs[1])

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """Channels that are multiplied are tied."""
        ties.unite(inputs[0], inputs[1])
        return inputs[1]

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """The product of two constants is one; a kept channel's can not be told apart."""
        for constant in inputs:
            require_no_constant(constant, kept, self._what)
        product = inputs[0] * inputs[1]
        return apply_to_removed(product, kept, ELEMENTWISE[self.activation], self.activation)

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """Products of constants."""
        return carried_by_removed(inputs, kept, self._what)

    @property
    def _what(self) -> str:
        return f"a product ([{self.kind}])"


class Sam(_Product):
    """Spatial attention: both have one shape."""

    kind = "sam"

    def _check(self) -> None:
        if self.inputs[0] != self.inputs[1]:
            raise self.error(f"multiplies {self.inputs[0]} by {self.inputs[1]}: shapes differ")


class ScaleChannels(_Product):
    """Squeeze-and-excite: one factor per channel, or with `scale_wh` per position."""

    kind = "scale_channels"
    one_image_in_opencv = True  # it multiplies a map by the scales of a single image

    def _check(self) -> None:
        self.per_position = self.section.flag("scale_wh")
        channels, height, width = self.inputs[1]
        wanted = (1, height, width) if self.per_position else (channels, 1, 1)
        if self.inputs[0] != wanted:
            raise self.error(
                f"needs factors of shape {wanted}, the layer before is {self.inputs[0]}"
            )

    def window(self, axis: int, source: int) -> Window:
        """One factor per channel stands for the whole image."""
        return WHOLE if source == 0 and not self.per_position else Window()

    def traits(self) -> str:
        """Whether it has a factor per position, and its activation."""
        return " ".join((*(["per position"] if self.per_position else []), super().traits()))

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """Per position, what a pruned channel leaves is no constant: all stay."""
        if not self.per_position:
            return super().channels(inputs, ties)
        for ids in inputs:
            ties.pin(ids, f"scale_wh at layer {self.index} multiplies it by a map")
        return inputs[1]

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """As any product's."""
        if not self.per_position:
            return super().constants(params, inputs, kept)
        for constant in inputs:
            require_no_constant(constant, torch.ones_like(constant, dtype=torch.bool), "scale_wh")
        return inputs[1]

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """As any product's."""
        if not self.per_position:
            return super().carried(inputs, kept)
        for mask in inputs:
            carried_by_removed([mask], np.ones_like(mask), "scale_wh")
        return inputs[1]


class Implicit(Layer):
    """Learned numbers that depend on no input: (filters, atoms, 1)."""

    kind = "implicit"

    def infer_shape(self) -> Shape:
        """`filters` and `atoms`."""
        return self.section.integer("filters", 128), self.section.integer("atoms", 1), 1

    def fields(self) -> tuple[Field, ...]:
        """The numbers themselves."""
        return (Field("weights", self.shape),)

    def module(self, padding_mode: PaddingMode = "zeros") -> Module:
        """`weights`, small and random."""
        module = torch.nn.Module()
        module.register_parameter("weights", torch.nn.Parameter(torch.randn(self.shape) * 0.02))
        return module

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(1, filters, atoms, 1): the same for every image."""
        return module.get_parameter("weights").unsqueeze(0)

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """Fresh ids, which what multiplies or adds them decides about."""
        ids = ties.fresh(self.shape[0])
        if self.shape[1] > 1:
            ties.pin(ids, f"[implicit] layer {self.index} has several atoms per channel")
        return ids

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """A pruned channel's number."""
        numbers = params["weights"].double()[:, 0, 0]
        return torch.where(kept, torch.zeros_like(numbers), numbers)

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """The pruned channels' numbers."""
        return ~kept

    def slice(self, params: Params, keeps: Sequence[Tensor], kept: Tensor) -> Params:
        """The kept channels' numbers."""
        return {"weights": params["weights"][kept]}

    def rewrite(self, keeps: Sequence[Tensor], kept: Tensor) -> Section:
        """`filters`."""
        return self.with_count("filters", kept)


class Crop(Layer):
    """The centre of the image, from 0..1 to -1..1 unless `noadjust`."""

    kind = "crop"

    def infer_shape(self) -> Shape:
        """(C, crop_height, crop_width)."""
        channels, height, width = self.inputs[0]
        size = self.section.integer("crop_height", 1), self.section.integer("crop_width", 1)
        if size[0] > height or size[1] > width:
            raise self.error(f"cuts {size[1]}x{size[0]} out of {width}x{height}")
        self.adjust = not self.section.flag("noadjust")
        return (channels, *size)

    def window(self, axis: int, source: int) -> Window:
        """One cell, further in."""
        start = (self.inputs[0][1 + axis] - self.shape[1 + axis]) // 2
        return Window(before=-start, after=start)

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(B, C, crop_height, crop_width)."""
        x = inputs[0]
        top, left = (
            (have - want) // 2 for have, want in zip(x.shape[2:], self.shape[1:], strict=True)
        )
        x = x[..., top : top + self.shape[1], left : left + self.shape[2]]
        return x * 2 - 1 if self.adjust else x

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """Stretched like the values."""
        factor, shift = (2.0, -1.0) if self.adjust else (1.0, 0.0)
        return inputs[0] * factor + shift * (~kept)

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """Where one is; the shift makes one of a pruned channel's 0."""
        return inputs[0] | ~kept if self.adjust else inputs[0]


class Softmax(Layer):
    """exp(x / temperature) over its sum, in each of `groups` equal slices of the flat vector."""

    kind = "softmax"

    def infer_shape(self) -> Shape:
        """Unchanged."""
        self.groups = self.section.integer("groups", 1)
        self.temperature = self.section.number("temperature", 1.0)
        if self.section.has("tree"):
            raise self.error("trees are read in [region] only", "tree")
        channels, height, width = self.inputs[0]
        if self.groups < 1 or (channels * height * width) % self.groups:
            raise self.error(f"{channels * height * width} values do not divide", "groups")
        return self.inputs[0]

    def window(self, axis: int, source: int) -> Window:
        """All of it: the sums run over cells too."""
        return WHOLE

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(B, C, H, W)."""
        flat = inputs[0].reshape(len(inputs[0]), self.groups, -1)
        return (flat / self.temperature).softmax(2).view(inputs[0].shape)

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """Every output depends on all inputs."""
        ties.pin(inputs[0], f"read by [softmax] at layer {self.index}")
        return inputs[0]

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """None may arrive."""
        require_no_constant(inputs[0], kept, "[softmax]")
        return inputs[0]

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """None may arrive."""
        carried_by_removed(inputs, kept, "[softmax]")
        return inputs[0]


class Empty(Layer):
    """Passes its input on."""

    kind = "empty"
    hands_on = True


class Cost(Layer):
    """A training loss of classifiers; without a truth Darknet leaves its output 0."""

    kind = "cost"
    gives_output = False

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """Zeros."""
        return torch.zeros_like(inputs[0])

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros_like(inputs[0])

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """None."""
        return np.zeros_like(inputs[0])


class Contrastive(Layer):
    """A training loss on embeddings; Darknet's own inference leaves its output 0."""

    kind = "contrastive"

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """Zeros. Raises UserError in training, which needs tracks that no data set here has."""
        if module.training:
            raise UserError(f"{self.section.where()}: [contrastive] cannot be trained here")
        return torch.zeros_like(inputs[0])

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros_like(inputs[0])

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """None."""
        return np.zeros_like(inputs[0])
