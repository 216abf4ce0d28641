"""`[maxpool]`, `[local_avgpool]`, `[avgpool]`, `[upsample]` (dialect: sections 4, 5, 8).

Also the fixed blur behind a convolution or pooling with `antialiasing` (section 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...cfg import Section, set_option
from ...command.later import torch
from .base import (
    WHOLE,
    Layer,
    Module,
    PaddingMode,
    Params,
    Shape,
    Tensor,
    Window,
    apply_to_removed,
    carried_by_removed,
    wrapped,
)
from .ties import Ids, Mask, Ties

# kind -> (1-d kernel, zero padding per side)
BLURS: dict[int, tuple[tuple[float, ...], int]] = {1: ((0.25, 0.5, 0.25), 1), 2: ((0.5, 0.5), 0)}


def blurred_shape(shape: Shape, kind: int, stride: tuple[int, int]) -> Shape:
    """Shape behind the blur; `stride` is (y, x)."""
    kernel, pad = BLURS[kind]
    height, width = (
        (length + 2 * pad - len(kernel)) // step + 1
        for length, step in zip(shape[1:], stride, strict=True)
    )
    return shape[0], height, width


def blurred_window(window: Window, kind: int, stride: int) -> Window:
    """What a cell behind the blur reads, where one before it reads `window` (of stride 1)."""
    kernel, pad = BLURS[kind]
    return Window(stride, window.before + pad, window.after + len(kernel) - 1 - pad)


def blur(x: Tensor, kind: int, stride: tuple[int, int], padding_mode: PaddingMode) -> Tensor:
    """Depthwise blur of (B, C, H, W) with the given stride (y, x)."""
    taps, pad = BLURS[kind]
    if padding_mode == "circular":
        x, pad = wrapped(x, pad), 0
    line = torch.tensor(taps, dtype=x.dtype, device=x.device)
    kernel = torch.outer(line, line).expand(x.shape[1], 1, -1, -1)
    return torch.nn.functional.conv2d(x, kernel, stride=stride, padding=pad, groups=x.shape[1])


class _Pooling(Layer):
    """Windows of `size`, `padding` cells in all around the image, which are skipped."""

    def infer_shape(self) -> Shape:
        """Darknet's rule: `padding` counts both sides and is size-1 unless given."""
        s = self.section
        stride = s.integer("stride", 1)
        self.stride = s.integer("stride_y", stride), s.integer("stride_x", stride)
        self.size = s.integer("size", stride)
        self.padding = s.integer("padding", self.size - 1)
        if min(self.size, *self.stride) < 1 or self.padding < 0:
            raise self.error("size and stride must be at least 1, padding at least 0")
        return self._pooled(self.stride)

    def window(self, axis: int, source: int) -> Window:
        """`size` cells, the smaller half of the padding before the first one."""
        before = self.padding // 2
        return Window(self.stride[axis], before, self.size - 1 - before)

    def traits(self) -> str:
        """Size/stride."""
        return f"{self.size}x{self.size}/{'x'.join(map(str, dict.fromkeys(self.stride)))}"

    def largest_tensor(self) -> int:
        """The output, or the input with its padding."""
        channels, *size = self.inputs[0]
        padded = math.prod(length + self.padding for length in size) * channels
        return max(math.prod(self.shape), padded)

    def _pooled(self, stride: tuple[int, int]) -> Shape:
        channels, *lengths = self.inputs[0]
        height, width = (
            (length + self.padding - self.size) // step + 1
            for length, step in zip(lengths, stride, strict=True)
        )
        return channels, height, width

    def _pad(self, x: Tensor, value: float, stride: tuple[int, int]) -> Tensor:
        """`x` with cells of `value` around it, such that windows start at its first cell."""
        before = self.padding // 2
        after = []
        for length, step in zip(x.shape[2:], stride, strict=True):
            count = (length + self.padding - self.size) // step + 1
            after.append(max(0, (count - 1) * step - before + self.size - length))
        if before == 0 and not any(after):
            return x
        return torch.nn.functional.pad(x, (before, after[1], before, after[0]), value=value)

    def _crop(self, pooled: Tensor, x: Tensor, stride: tuple[int, int]) -> Tensor:
        rows, columns = (
            (length + self.padding - self.size) // step + 1
            for length, step in zip(x.shape[2:], stride, strict=True)
        )
        return pooled[..., :rows, :columns]


class MaxPool(_Pooling):
    """Maximum over windows; with `maxpool_depth`, over channels."""

    kind = "maxpool"

    @property
    def hands_on(self) -> bool:  # type: ignore[override]
        """Unless a blur follows."""
        return not self.antialiasing

    def infer_shape(self) -> Shape:
        """Also reads `maxpool_depth`, `out_channels` and `antialiasing`."""
        shape = super().infer_shape()
        self.depth = self.section.integer("out_channels", 1)
        self.over_channels = self.section.flag("maxpool_depth")
        self.antialiasing = self.section.integer("antialiasing")
        if self.over_channels:
            if not 1 <= self.depth <= self.inputs[0][0]:
                raise self.error(f"must lie in 1..{self.inputs[0][0]}", "out_channels")
            return (self.depth, *self.inputs[0][1:])
        if not self.antialiasing:
            return shape
        if self.antialiasing not in BLURS:
            raise self.error(f"must be one of {sorted(BLURS)}", "antialiasing")
        self.followed_only = True
        return blurred_shape(self._pooled((1, 1)), self.antialiasing, self.stride)

    def window(self, axis: int, source: int) -> Window:
        """One cell over channels; else the pool's, and that of the blur behind it."""
        if self.over_channels:
            return Window()
        window = super().window(axis, source)
        if not self.antialiasing:
            return window
        return blurred_window(window._replace(stride=1), self.antialiasing, self.stride[axis])

    def traits(self) -> str:
        """Size/stride, or what it does instead."""
        if self.over_channels:
            return "over channels"
        return super().traits() + (" blurred" if self.antialiasing else "")

    def module(self, padding_mode: PaddingMode = "zeros") -> Module:
        """No parameters."""
        from .modules import BlurredModule  # torch's own kind: it loads torch

        return BlurredModule(padding_mode) if self.antialiasing else torch.nn.Identity()

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """Cells outside the image never win."""
        x = inputs[0]
        if self.over_channels:
            return self._over_channels(x)
        if self.antialiasing:
            from .modules import BlurredModule

            assert isinstance(module, BlurredModule)
            pooled = self._pool(x, (1, 1))
            return blur(pooled, self.antialiasing, self.stride, module.padding_mode)
        return self._pool(x, self.stride)

    def _pool(self, x: Tensor, stride: tuple[int, int]) -> Tensor:
        if self.size % 2 and self.padding == self.size - 1:
            # Symmetric: torch pads with -inf itself, in place of a copy.
            return torch.nn.functional.max_pool2d(x, self.size, stride, self.size // 2)
        padded = self._pad(x, -math.inf, stride)
        return self._crop(torch.nn.functional.max_pool2d(padded, self.size, stride), x, stride)

    def _over_channels(self, x: Tensor) -> Tensor:
        """out[k] is the maximum of channels k, k + depth, k + 2 depth, ..."""
        missing = -x.shape[1] % self.depth
        padded = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, missing), value=-math.inf)
        return padded.view(len(x), -1, self.depth, *x.shape[2:]).amax(1)

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """Over channels, all that compete for one output are tied."""
        ids = inputs[0]
        if not self.over_channels:
            return ids
        for start in range(self.depth, len(ids), self.depth):
            later = ids[start : start + self.depth]
            ties.unite(later, ids[: len(later)])
        return ids[: self.depth]

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """A constant passes a spatial maximum; of tied channels the largest does."""
        if not self.over_channels:
            return inputs[0]
        largest = self._over_channels(inputs[0].view(1, -1, 1, 1)).flatten()
        if bool((inputs[0] != 0).any()):
            apply_to_removed(largest, kept, torch.clone, "maxpool_depth")
        return torch.where(kept, torch.zeros_like(largest), largest)

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """As the values: of channels that compete, any."""
        if not self.over_channels:
            return inputs[0]
        missing = -len(inputs[0]) % self.depth
        competing = np.pad(inputs[0], (0, missing)).reshape(-1, self.depth)
        any_of_them: Mask = np.logical_or.reduce(competing)
        return any_of_them & carried_by_removed([any_of_them], kept, "maxpool_depth")

    def rewrite(self, keeps: Sequence[Tensor], kept: Tensor) -> Section:
        """`out_channels`, over channels."""
        if not self.over_channels:
            return self.section
        return set_option(self.section, "out_channels", int(kept.sum()))


class LocalAvgPool(_Pooling):
    """Mean over the cells of each window that lie inside the image."""

    kind = "local_avgpool"

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """Sum of the valid cells over their count."""
        x = inputs[0]
        inside = self._pad(torch.ones_like(x[:1, :1]), 0.0, self.stride)
        total, count = (
            torch.nn.functional.avg_pool2d(cells, self.size, self.stride, divisor_override=1)
            for cells in (self._pad(x, 0.0, self.stride), inside)
        )
        return self._crop(total / count, x, self.stride)


class AvgPool(Layer):
    """Mean over the whole image."""

    kind = "avgpool"

    def infer_shape(self) -> Shape:
        """(C, 1, 1)."""
        return self.inputs[0][0], 1, 1

    def window(self, axis: int, source: int) -> Window:
        """All of it."""
        return WHOLE

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(B, C, 1, 1)."""
        return inputs[0].mean((2, 3), keepdim=True)


class Upsample(Layer):
    """Nearest-neighbour copies times `scale`; a negative stride sums blocks instead."""

    kind = "upsample"

    @property
    def hands_on(self) -> bool:  # type: ignore[override]
        """Copies without a scale."""
        return self.stride > 0 and self.scale == 1

    def infer_shape(self) -> Shape:
        """Height and width times (or, for a negative stride, divided by) the stride."""
        channels, height, width = self.inputs[0]
        self.stride = self.section.integer("stride", 2)
        self.scale = self.section.number("scale", 1.0)
        if self.stride == 0:
            raise self.error("must not be 0", "stride")
        if self.stride > 0:
            return channels, height * self.stride, width * self.stride
        return channels, height // -self.stride, width // -self.stride

    def window(self, axis: int, source: int) -> Window:
        """One cell that others read too, or a block."""
        if self.stride > 0:
            return Window(copies=self.stride)
        return Window(-self.stride, after=-self.stride - 1)

    def traits(self) -> str:
        """Its factor, and the scale if it has one."""
        factor = f"x{self.stride}" if self.stride > 0 else f"sums/{-self.stride}"
        return factor if self.scale == 1 else f"{factor} scale {self.scale:g}"

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(B, C, H * stride, W * stride)."""
        if self.stride > 0:
            x = torch.nn.functional.interpolate(
                inputs[0], scale_factor=float(self.stride), mode="nearest"
            )
        else:
            x = torch.nn.functional.avg_pool2d(inputs[0], -self.stride, divisor_override=1)
        return x if self.scale == 1 else x * self.scale

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """Times the scale, and times the block's size where blocks are summed."""
        return inputs[0] * self.scale * (self.stride**2 if self.stride < 0 else 1)
