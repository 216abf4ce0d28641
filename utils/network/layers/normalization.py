"""Batch normalisation as Darknet computes it, alone and behind a convolution; `[normalization]`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cache

from ...command.later import torch
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
    picked,
    places_of,
)
from .ties import Mask

BN_EPS = 1e-5  # inside the root
BN_MOMENTUM = 0.1

# File order behind a convolution: Darknet's biases, scales, rolling_mean, rolling_variance.
BN_FIELDS = ("bn.bias", "bn.weight", "bn.running_mean", "bn.running_var")

_SIZES_WITH_OWN_CHANNEL = (2, 3)  # of 1 the window is empty, of 4 it reads beyond the channel


@cache
def kernel_fields(kernel: tuple[int, ...], normalized: bool, transposed: bool) -> tuple[Field, ...]:
    """Arrays of a convolution in file order: those of its BN, or its bias; then its kernel."""
    names = BN_FIELDS if normalized else ("conv.bias",)
    vectors = (Field(name, kernel[:1]) for name in names)
    return (*vectors, Field("conv.weight", kernel, transposed=transposed))


def slice_batch_norm(params: Params, kept: Tensor) -> dict[str, Tensor]:
    """The four arrays (C,) at the kept channels."""
    places = places_of(kept)
    return {name: picked(params[name], places) for name in BN_FIELDS}


def folded(params: Params, eps: float = BN_EPS) -> tuple[Tensor, Tensor]:
    """Kernel and bias, in float64, of the convolution that does all that it and its BN do."""
    scale, bias = scale_and_bias(params, eps)
    return params["conv.weight"].double() * scale.view(-1, 1, 1, 1), bias


def scale_and_bias(params: Params, eps: float = BN_EPS) -> tuple[Tensor, Tensor]:
    """A normalisation as x * scale + bias of each channel, in float64."""
    deviation = (params["bn.running_var"].double() + eps).sqrt()
    scale = params["bn.weight"].double() / deviation
    return scale, params["bn.bias"].double() - scale * params["bn.running_mean"].double()


def shift_mean(params: Params, shift: Tensor) -> Params:
    """Params with `shift` (C,) added to the running mean."""
    mean = params["bn.running_mean"]
    return {**params, "bn.running_mean": (mean.double() + shift).to(mean.dtype)}


class BatchNorm(Layer):
    """Batch normalisation on its own."""

    kind = "batchnorm"

    def fields(self) -> tuple[Field, ...]:
        """Bias, scale, mean, variance."""
        return tuple(Field(name, (self.shape[0],)) for name in BN_FIELDS)

    @property
    def module_options(self) -> tuple[Hashable, ...]:
        """None."""
        return ()

    def module(self, padding_mode: PaddingMode = "zeros") -> Module:
        """`bn.*`."""
        from .modules import NormModule  # torch's own kind: it loads torch

        return NormModule(self.shape[0])

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(B, C, H, W)."""
        from .modules import NormModule

        assert isinstance(module, NormModule)
        x: Tensor = module.bn(inputs[0])
        return x

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """A pruned channel's passes through; a kept one's goes into the mean."""
        scale, bias, mean, variance = (
            params[name].double()
            for name in ("bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
        )
        passed = scale * (inputs[0] - mean) / (variance + BN_EPS).sqrt() + bias
        return torch.where(kept, torch.zeros_like(passed), passed)

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """The pruned channels'; a kept one's is absorbed."""
        return ~kept

    def absorb(self, params: Params, inputs: Sequence[Tensor]) -> Params:
        """x + c has its mean at mean - c from x's point of view."""
        return shift_mean(params, -inputs[0])

    def slice(self, params: Params, keeps: Sequence[Tensor], kept: Tensor) -> Params:
        """Each array at the kept channels."""
        return slice_batch_norm(params, kept)


class Normalization(Layer):
    """A power of each value: x (kappa + alpha x^2)^-beta, of one channel.

    With more channels Darknet's running window (dialect: section 5) skips one, so that its result
    means nothing; no detector uses it. With one it is a power, as YOLOv8's box decoding needs.
    """

    kind = "normalization"

    def infer_shape(self) -> Shape:
        """Unchanged; exactly one channel."""
        s = self.section
        if self.inputs[0][0] != 1:
            raise self.error(
                "not supported with more than one channel: Darknet's running window skips one, "
                "so its result means nothing"
            )
        if s.integer("size", 5) not in _SIZES_WITH_OWN_CHANNEL:
            raise self.error(f"must be one of {_SIZES_WITH_OWN_CHANNEL} for one channel", "size")
        self.alpha = s.number("alpha", 0.0001)
        self.beta = s.number("beta", 0.75)
        self.kappa = s.number("kappa", 1.0)
        return self.inputs[0]

    def _power(self, x: Tensor) -> Tensor:
        return x * (self.kappa + self.alpha * x.square()) ** -self.beta

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(B, 1, H, W)."""
        return self._power(inputs[0])

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """The power of a removed channel's."""
        return apply_to_removed(inputs[0], kept, self._power, self.kind)

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """Those of removed channels."""
        return carried_by_removed(inputs, kept, self.kind)
