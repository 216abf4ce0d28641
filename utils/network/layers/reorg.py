"""`[reorg3d]` and the historical `[reorg]`: pixels become channels (dialect: section 9)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...command.later import torch
from .base import (
    Layer,
    Module,
    Params,
    Shape,
    Tensor,
    UnfoldableError,
    Window,
    carried_by_removed,
    require_no_constant,
)
from .ties import Ids, Mask, Ties


def space_to_depth(x: Tensor, stride: int) -> Tensor:
    """(B, C, H, W) -> (B, s*s*C, H/s, W/s), the offset inside a block being the major index."""
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, channels, height // stride, stride, width // stride, stride)
    moved = blocks.permute(0, 3, 5, 1, 2, 4)
    return moved.reshape(batch, -1, height // stride, width // stride)


def depth_to_space(x: Tensor, stride: int) -> Tensor:
    """The inverse of `space_to_depth`."""
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, stride, stride, channels // stride**2, height, width)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * stride, width * stride)


class _Reorg(Layer):
    hands_on = True

    def infer_shape(self) -> Shape:
        """s*s times the channels on 1/s of the sides, or with `reverse` the other way round."""
        self.stride = self.section.integer("stride", 1)
        self.reverse = self.section.flag("reverse")
        s, (channels, height, width) = self.stride, self.inputs[0]
        if s < 1:
            raise self.error(f"must be at least 1, got {s}", "stride")
        if channels % self._channel_multiple:
            raise self.error(f"{channels} channels do not divide by {self._channel_multiple}")
        if not self.reverse and (height % s or width % s):
            raise self.error(f"{width}x{height} does not divide by {s}", "stride")
        if self.reverse:
            return channels // s**2, height * s, width * s
        return channels * s**2, height // s, width // s

    @property
    def _channel_multiple(self) -> int:
        """What the number of input channels must be a multiple of."""
        return self.stride**2 if self.reverse else 1

    def traits(self) -> str:
        """Its stride and direction."""
        return f"/{self.stride}" + (" reverse" if self.reverse else "")

    def _pin(self, ids: Ids, ties: Ties, reason: str) -> Ids:
        ties.pin(ids, f"[{self.kind}] at layer {self.index} {reason}")
        return np.resize(ids, self.shape[0])

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """Where channels are pinned none may arrive."""
        require_no_constant(inputs[0], torch.ones_like(inputs[0], dtype=torch.bool), self.kind)
        return torch.zeros(self.shape[0], dtype=inputs[0].dtype)

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """Where channels are pinned none may arrive."""
        carried_by_removed(inputs, np.ones_like(inputs[0]), self.kind)
        return np.zeros(self.shape[0], bool)


class Reorg3d(_Reorg):
    """Each s x s block of pixels becomes channels: offset first, then channel."""

    kind = "reorg3d"

    @property
    def _channel_multiple(self) -> int:
        return self.stride**4 if self.reverse else 1

    def window(self, axis: int, source: int) -> Window:
        """The block. Reversed, one cell, and by Darknet's reading of the memory up to s-1 rows off.

        What would lie above or below the image is then the other end of another channel.
        """
        s = self.stride
        if not self.reverse:
            return Window(s, after=s - 1)
        off = s - 1 if axis == 0 else 0
        return Window(before=off, after=off, copies=s)

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """With `reverse`, depth-to-space on memory read in the output's shape, as in Darknet."""
        if not self.reverse:
            return space_to_depth(inputs[0], self.stride)
        batch, channels, height, width = inputs[0].shape
        s = self.stride
        seen_as = (batch, channels // s**2, height * s, width * s)
        return depth_to_space(inputs[0].reshape(seen_as), s).reshape(seen_as)

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """A channel becomes s*s channels, which go with it."""
        if self.reverse:
            return self._pin(inputs[0], ties, "spreads a channel over others")
        return np.tile(inputs[0], self.stride**2)

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """The same at every offset."""
        if self.reverse:
            return super().constants(params, inputs, kept)
        return inputs[0].repeat(self.stride**2)

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """As the channels."""
        if self.reverse:
            return super().carried(inputs, kept)
        return np.tile(inputs[0], self.stride**2)


class Reorg(_Reorg):
    """YOLOv2's: Darknet's loop reads the input's memory in the shape (C/s/s, H*s, W*s)."""

    kind = "reorg"

    def infer_shape(self) -> Shape:
        """As any; of OpenCV's importer the direction is known."""
        shape = super().infer_shape()
        self.not_in_opencv = "OpenCV's cfg importer ignores reverse=1" if self.reverse else ""
        return shape

    @property
    def _channel_multiple(self) -> int:
        return self.stride**2

    def window(self, axis: int, source: int) -> Window:
        """Reversed, one cell. Otherwise s columns, and rows of s different blocks.

        Channel k of the first C reads the rows s*y - (s-1) * ((k*H/s + y) mod s) + s*n, n < s.
        What would lie above or below the image is the other end of another channel.
        """
        s = self.stride
        if self.reverse:
            return Window(copies=s)
        if axis == 1:
            return Window(s, after=s - 1)
        if self.shape[1] % s == 0:  # the same rows for every k
            return Window(s**2, after=s * (s - 1), copies=s, phase=1)
        return Window(s, before=(s - 1) ** 2, after=s * (s - 1))

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(B, C*s*s, H/s, W/s)."""
        x, s = inputs[0], self.stride
        if self.reverse:
            return depth_to_space(x, s)
        batch, channels, height, width = x.shape
        seen_as = x.reshape(batch, channels // s**2, height * s, width * s)
        return space_to_depth(seen_as, s).reshape(batch, channels * s**2, height // s, width // s)

    @property
    def _one_to_one(self) -> bool:
        """Whether each output channel holds values of one input channel only."""
        return not self.reverse and self.inputs[0][1] % self.stride**2 == 0

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """s*s neighbouring channels are read as one, and go together.

        With `reverse` the s*s channels that one is made of, an equal step apart, go with it.
        """
        if self.reverse:
            per_channel = inputs[0].reshape(self.stride**2, -1)
            for other in per_channel[1:]:
                ties.unite(per_channel[0], other)
            ids: Ids = per_channel[0]
            return ids
        if not self._one_to_one:
            return self._pin(inputs[0], ties, "mixes channels at this height")
        per_group = inputs[0].reshape(-1, self.stride**2)
        for column in range(1, self.stride**2):
            ties.unite(per_group[:, 0], per_group[:, column])
        return np.tile(inputs[0], self.stride**2)

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """Output channel (offset, group, part) comes from input channel (group, part)."""
        if self.reverse:
            return self._spread_constants(inputs[0], kept)
        if not self._one_to_one:
            return super().constants(params, inputs, kept)
        return inputs[0].repeat(self.stride**2)

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """As the channels."""
        if self.reverse:
            parts = inputs[0].reshape(self.stride**2, -1)
            return self._only_on_removed(np.logical_or.reduce(parts), kept)
        if not self._one_to_one:
            return super().carried(inputs, kept)
        return np.tile(inputs[0], self.stride**2)

    def _spread_constants(self, constants: Tensor, kept: Tensor) -> Tensor:
        """The mean of the s*s constants of each channel, as `masked` has it.

        On a kept channel they must be equal, or the offset would differ from cell to cell.
        """
        parts = constants.view(self.stride**2, -1)
        uneven = (parts != parts[0]).any(0)
        self._only_on_removed(uneven.numpy(), kept.numpy())
        return torch.where(uneven, parts.mean(0), parts[0])

    def _only_on_removed(self, found: Mask, kept: Mask) -> Mask:
        if (found & kept).any():
            raise UnfoldableError(f"a constant on a kept channel meets [{self.kind}] reverse=1")
        return found

    def masked(self, value: Tensor, kept: Tensor) -> Tensor:
        """Removed channels emit one constant, not a pattern of s*s: the mean of these."""
        if not self.reverse:
            return value
        level = value.mean((2, 3), keepdim=True).expand_as(value)
        return torch.where(kept.view(1, -1, 1, 1), value, level)
