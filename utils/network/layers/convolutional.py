"""`[convolutional]`: convolution, batch normalisation, activation (dialect: sections 2 and 3)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

from ...cfg import Section, read_note, references, set_option
from ...cfg.notes import INITIAL_NOTE
from ...command.later import torch
from .activations import ACROSS_CHANNELS, ELEMENTWISE, IN_PLACE
from .base import (
    Field,
    Layer,
    Module,
    PaddingMode,
    Params,
    Shape,
    Tensor,
    Window,
    picked,
    places_of,
    weighed,
    wrapped,
)
from .normalization import BN_FIELDS, kernel_fields, shift_mean, slice_batch_norm
from .pooling import BLURS, blur, blurred_shape, blurred_window
from .ties import Ids, Mask, Ties

_LARGEST_INITIAL = 1e6


class Convolutional(Layer):
    """A 2-d convolution, grouped and dilated at will."""

    kind = "convolutional"
    has_kernel = True

    def infer_shape(self) -> Shape:
        """Read every option once; see the class's attributes for what they mean."""
        s, (channels, height, width) = self.section, self.inputs[0]
        if s.flag("xnor") or s.flag("binary"):
            raise self.error("binary weights have no agreed result in Darknet's own builds", "xnor")
        self.filters = s.integer("filters", 1)
        self.size = s.integer("size", 1)
        self.groups = max(1, s.integer("groups", 1))
        self.normalized = s.flag("batch_normalize") or s.flag("cbn")
        self.activation = self.activation_name("logistic", across_channels=True)
        self.dilation = s.integer("dilation", 1) if self.size > 1 else 1
        self.padding = self.size // 2 if s.flag("pad") else s.integer("padding")
        self.antialiasing = s.integer("antialiasing")
        self.initial = self._initial()
        self._check(channels)
        strides = self._strides()
        out_h, out_w = (
            (length + 2 * self.padding - self.size) // stride + 1
            for length, stride in zip((height, width), strides, strict=True)
        )
        shape = (self.filters, out_h, out_w)
        if not self.antialiasing:
            self.stride = strides
            return shape
        self.followed_only = True
        # The convolution itself then has stride 1, and the blur behind it the stride of the cfg.
        self.stride, self.blur_stride = (1, 1), strides
        height, width = (side + 2 * self.padding - self.size + 1 for side in (height, width))
        self.unblurred: Shape = (self.filters, height, width)
        return blurred_shape(self.unblurred, self.antialiasing, strides)

    def _initial(self) -> float | None:
        """What all its weights are in a training from random ones; None: drawn."""
        found = read_note(self.section, INITIAL_NOTE)
        if found is None:
            return None
        if type(found) not in (int, float) or not abs(found) < _LARGEST_INITIAL:
            raise self.error(f"its note 'initial' must be a number, not {str(found)[:40]}")
        return float(found)

    def _strides(self) -> tuple[int, int]:
        stride = self.section.integer("stride", 1)
        found = [self.section.integer(f"stride_{axis}", -1) for axis in "yx"]
        y, x = (value if value >= 1 else stride for value in found)
        if min(x, y) < 1:
            raise self.error(f"must be at least 1, got {stride}", "stride")
        return y, x

    def _check(self, channels: int) -> None:
        for key in ("filters", "size", "dilation"):
            if getattr(self, key) < 1:
                raise self.error(f"must be at least 1, got {getattr(self, key)}", key)
        if self.padding < 0:
            raise self.error(f"must not be negative, got {self.padding}", "padding")
        for what, count in (("input channels", channels), ("filters", self.filters)):
            if count % self.groups:
                raise self.error(f"{count} {what} do not divide into {self.groups}", "groups")
        if self.dilation > 1 and not (self.size % 2 and self.padding == self.size // 2):
            raise self.error(
                "needs an odd size and pad=1 (Darknet's result is garbage)", "dilation"
            )
        if self.size == 1 and self._strides()[1] == 1 < self._strides()[0]:
            raise self.error("with stride_x=1 and size=1 Darknet computes garbage", "stride_y")
        if self.antialiasing and self.antialiasing not in BLURS:
            raise self.error(f"must be one of {sorted(BLURS)}", "antialiasing")

    @property
    def role(self) -> str:
        """A depthwise convolution filters each channel alone, and ties outputs to inputs."""
        if self.owner != self.index:
            return "shared kernel"
        if self.groups == 1:
            return self.kind
        return "depthwise" if self.kernel_shape[1] == 1 else "grouped convolution"

    @property
    def owner(self) -> int:
        """The layer whose kernel it uses."""
        if not self.section.has("share_index"):
            return self.index
        return references(self.section, self.index, "share_index")[0]

    def check_owner(self, owner: Layer) -> None:
        """Another one must be a convolution with a kernel of its own, of the same shape."""
        if not isinstance(owner, Convolutional) or owner.owner != owner.index:
            raise self.error(f"layer {owner.index} has no kernel of its own", "share_index")
        ours, theirs = self.kernel_shape, owner.kernel_shape
        if ours != theirs or self.normalized != owner.normalized:
            raise self.error(
                f"needs a kernel {ours}, but layer {owner.index} has {theirs} (filters, inputs, "
                "size, size), and both or none need batch_normalize", "share_index"
            )  # fmt: skip

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """(filters, input channels per group, size, size)."""
        return (self.filters, self.inputs[0][0] // self.groups, self.size, self.size)

    def largest_tensor(self) -> int:
        """The output, or the input with its padding, which some kernels make for themselves."""
        channels, *size = self.inputs[0]
        padded = math.prod(length + 2 * self.padding * self.dilation for length in size) * channels
        unblurred = math.prod(self.unblurred) if self.antialiasing else 0
        return max(math.prod(self.shape), padded, unblurred)

    def fields(self) -> tuple[Field, ...]:
        """Bias (BN beta), then the other BN arrays, then the kernel."""
        own = self.owner == self.index
        flipped = self.section.flag("flipped")
        return kernel_fields(self.kernel_shape, self.normalized, flipped) if own else ()

    def loaded_fields(self) -> tuple[Field, ...]:
        """With `dontloadscales` only bias and kernel are in the file."""
        fields = super().loaded_fields()
        if self.section.flag("dontloadscales"):
            return tuple(f for f in fields if f.name not in BN_FIELDS[1:])
        return fields

    def macs(self) -> int:
        """Kernel size times output positions (before a blur, which is not counted)."""
        _, height, width = self.unblurred if self.antialiasing else self.shape
        return math.prod(self.kernel_shape) * height * width

    def window(self, axis: int, source: int) -> Window:
        """The kernel's reach, holes of a dilation included, and that of the blur behind it."""
        before, span = self.padding * self.dilation, (self.size - 1) * self.dilation
        window = Window(self.stride[axis], before, span - before)
        if not self.antialiasing:
            return window
        return blurred_window(window, self.antialiasing, self.blur_stride[axis])

    def traits(self) -> str:
        """Size/stride, groups (if the role does not say it), dilation, activation."""
        stride = self.blur_stride if self.antialiasing else self.stride
        parts = [f"{self.size}x{self.size}/{'x'.join(map(str, dict.fromkeys(stride)))}"]
        parts += [f"groups {self.groups}"] if self.groups > 1 and self.role != "depthwise" else []
        parts += [f"dilation {self.dilation}"] if self.dilation > 1 else []
        parts += ["blurred"] if self.antialiasing else []
        parts += [f"kernel of {self.owner}"] if self.owner != self.index else []
        return " ".join((*parts, self.activation))

    @property
    def module_options(self) -> tuple[Hashable, ...] | None:
        """How the kernel moves, and whether a normalisation follows."""
        if self.owner != self.index:
            return None
        moves = (self.size, self.stride, self.padding, self.dilation, self.groups)
        return (*moves, self.normalized)

    def module(self, padding_mode: PaddingMode = "zeros") -> Module:
        """`conv.weight` (and `conv.bias` or `bn.*`)."""
        if self.owner != self.index:
            return torch.nn.Identity()
        # torch's own kind: it loads torch
        from .modules import BlankConv2d, ConvolutionModule, DarknetBatchNorm

        conv = BlankConv2d(
            self.inputs[0][0],
            self.filters,
            self.size,
            stride=self.stride,
            padding=self.padding * self.dilation,
            dilation=self.dilation,
            groups=self.groups,
            bias=not self.normalized,
            padding_mode="zeros",
        )
        conv.padding_mode = padding_mode  # type: ignore[assignment] # one of them is ours
        bn = DarknetBatchNorm(self.filters) if self.normalized else None
        return ConvolutionModule(conv, bn, self.initial)

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """Convolution, normalisation, activation, and the blur of `antialiasing`."""
        from .modules import ConvolutionModule

        assert isinstance(module, ConvolutionModule)
        x = self._convolve(module, inputs[0])
        if module.int8 is not None:
            x = module.int8(x)
        elif module.bn is not None:
            x = module.bn(x)
        if self.activation in ACROSS_CHANNELS:
            x = ACROSS_CHANNELS[self.activation](x)
        else:
            x = IN_PLACE.get(self.activation, ELEMENTWISE[self.activation])(x)
        if not self.antialiasing:
            return x
        return blur(x, self.antialiasing, self.blur_stride, _padding_mode(module.conv))

    def _convolve(self, module: Any, x: Tensor) -> Tensor:
        conv, mode = module.conv, _padding_mode(module.conv)
        if self.owner == self.index and mode == "zeros" and module.int8 is None:
            convolved: Tensor = conv(x)
            return convolved
        # A shared kernel brings its numbers only: stride, padding and dilation are this layer's.
        pad = self.padding * self.dilation
        if mode != "zeros":
            x, pad = wrapped(x, pad) if mode == "circular" else x, 0
        kernel, bias = module.kernel()
        return torch.nn.functional.conv2d(
            x, kernel, bias, self.stride, pad, self.dilation, self.groups
        )

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """Fresh ids; a convolution with one input channel per group ties outputs to inputs."""
        source = inputs[0]
        if self.owner != self.index:
            ties.unite(source, ties.read_by(self.owner))
            if not ties.reads_same_constants(self.index, self.owner):
                ties.pin(source, f"the kernel shared by layers {self.owner} and {self.index}")
            ids = ties.outputs[self.owner]
        else:
            ids = ties.issue(self.index, self.filters)
        per_group = len(source) // self.groups
        if self.groups > 1 and per_group == 1:
            ties.unite(ids, source.repeat(self.filters // self.groups))
        elif self.groups > 1:
            ties.keep_parts_equal(source.reshape(self.groups, per_group))
            ties.keep_parts_equal(ids.reshape(self.groups, -1))
        if self.activation in ACROSS_CHANNELS:
            ties.pin(ids, f"{self.activation} at layer {self.index} mixes the channels")
        return ids

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """A channel with gamma 0 (or, without BN, a zero kernel) emits activation(bias)."""
        bias = params["bn.bias" if self.normalized else "conv.bias"].double()
        if bool(kept.all()):
            return torch.zeros_like(bias)
        activation = ELEMENTWISE.get(self.activation, ELEMENTWISE["linear"])
        return torch.where(kept, 0.0, activation(bias))

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """The pruned channels' own; those of the inputs are absorbed."""
        return ~kept

    def silence(self, params: Params, kept: Tensor) -> Params:
        """Gamma, or without BN the kernel, is 0 at the pruned channels."""
        name = "bn.weight" if self.normalized else "conv.weight"
        mask = kept.view(-1, *(1,) * (params[name].dim() - 1))
        return {**params, name: params[name] * mask}

    def silent(self, params: Params, removed: Tensor) -> Tensor | None:
        """The activation of beta, or of the bias, since 0 times anything is 0."""
        if self.groups > 1 or self.owner != self.index or self.antialiasing:
            return None
        if self.activation in ACROSS_CHANNELS:
            return None
        bias = params["bn.bias" if self.normalized else "conv.bias"][removed]
        return ELEMENTWISE[self.activation](bias)

    def absorb(self, params: Params, inputs: Sequence[Tensor]) -> Params:
        """Each output sums kernel x constant; that goes out of the BN mean or into the bias."""
        kernel, constants = params["conv.weight"], inputs[0].view(self.groups, -1)
        at_each_tap = constants.repeat_interleave(kernel[0, 0].numel(), 1)
        if self.groups == 1:
            shift = weighed(kernel.flatten(1), at_each_tap[0])
        else:
            of_groups = kernel.view(self.groups, -1, at_each_tap.shape[1]).double()
            shift = torch.bmm(of_groups, at_each_tap.unsqueeze(2)).flatten()
        if self.normalized:
            return shift_mean(params, -shift)
        bias = params["conv.bias"]
        return {**params, "conv.bias": (bias.double() + shift).to(bias.dtype)}

    @property
    def sums_inputs(self) -> bool:
        """Each output sums over all inputs, with numbers of its own."""
        return self.groups == 1 and self.owner == self.index

    def merge_inputs(self, params: Params, parts: Sequence[tuple[slice, slice]]) -> Params:
        """The columns of the repeated inputs are added to those of the first ones, in float64."""
        kernel = params["conv.weight"]
        total = kernel.to(torch.float64, copy=True)
        for first, repeated in parts:
            total[:, first] += total[:, repeated]
            total[:, repeated] = 0
        return {**params, "conv.weight": total.to(kernel.dtype)}

    def slice(self, params: Params, keeps: Sequence[Tensor], kept: Tensor) -> Params:
        """Rows of the kernel by the output mask, columns by the input mask."""
        kernel = self._slice_kernel(params["conv.weight"], keeps[0], kept)
        if self.normalized:
            return {**slice_batch_norm(params, kept), "conv.weight": kernel}
        return {"conv.bias": picked(params["conv.bias"], places_of(kept)), "conv.weight": kernel}

    def _slice_kernel(self, kernel: Tensor, keep: Tensor, kept: Tensor) -> Tensor:
        if self.groups == 1:
            return picked(picked(kernel, places_of(kept)), places_of(keep), 1)
        per_group = kernel.shape[1]
        if per_group == 1:
            return picked(kernel, places_of(kept))
        columns = keep.view(self.groups, per_group)
        rows = kept.view(self.groups, -1)
        parts = kernel.view(self.groups, -1, *kernel.shape[1:])
        return torch.cat([parts[g][rows[g]][:, columns[g]] for g in range(self.groups)])

    def rewrite(self, keeps: Sequence[Tensor], kept: Tensor) -> Section:
        """`filters`, and `groups` where each group has one input channel."""
        section = self.with_count("filters", kept)
        if self.groups > 1 and self.kernel_shape[1] == 1 and section is not self.section:
            section = set_option(section, "groups", int(keeps[0].sum()))
        return section


def _padding_mode(conv: torch.nn.Conv2d) -> PaddingMode:
    mode: PaddingMode = conv.padding_mode  # type: ignore[assignment]
    return mode
