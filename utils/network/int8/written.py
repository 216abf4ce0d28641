"""A network on grids in the form that exporters read: integers, with what turns them to numbers.

Each grid becomes torch's `quantized_decomposed` pair of quantize and dequantize, which exporters
know: ONNX has QuantizeLinear and DequantizeLinear for them, XNNPACK's partitioner its own kernels,
LiteRT's converter tensors of integers with a scale.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.quantization.fx import _decomposed as _registers_the_pair  # noqa: F401

from ..layers.modules import ConvolutionModule
from .grids import KERNEL_LEVELS, LEVELS, Grid, kernel_scales, rounded_kernel, scale_and_zero
from .points import points_of, sum_name, value_name

_INT32 = torch.iinfo(torch.int32)
_LITERT_KERNEL_LEVELS = 127  # the type of its kernels; the numbers stay within KERNEL_LEVELS


@dataclass(frozen=True)
class Form:
    """How an exporter wants it: the same numbers in any.

    signed: values from -128 on, else from 0. bias_in_float: else in integers of 32 bits.
    outputs_by_float: a convolution whose result stays in float has its rounded kernel as float32.
    kernel_by_pair: the kernel in float32 and the pair that rounds it, for a converter that folds
    them itself and takes the type of a kernel from its quantize.
    """

    signed: bool = False
    bias_in_float: bool = False
    outputs_by_float: bool = False
    kernel_by_pair: bool = False


ONNX_FORM = Form()
XNNPACK_FORM = Form(signed=True, bias_in_float=True, outputs_by_float=True)
LITERT_FORM = Form(signed=True, bias_in_float=True, kernel_by_pair=True)


class WrittenGrid(nn.Module):
    """`Grid` as quantize and dequantize."""

    def __init__(self, grid: Grid, form: Form) -> None:
        super().__init__()
        scale, zero = scale_and_zero(grid.low, grid.high)
        self.scale = float(scale)
        first = -(LEVELS + 1) // 2 if form.signed else 0
        dtype = torch.int8 if form.signed else torch.uint8
        self.told = (self.scale, int(zero) + first, first, first + LEVELS, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        ops, told = torch.ops.quantized_decomposed, self.told
        found: Tensor = ops.dequantize_per_tensor(ops.quantize_per_tensor(x, *told), *told)
        return found


class WrittenKernel(nn.Module):
    """`KernelGrid` as integers: the kernel in 8 bits, the bias in 32, as sums of products are."""

    def __init__(
        self, conv: nn.Conv2d, before: nn.Module | None, input_scale: float, form: Form
    ) -> None:
        super().__init__()
        self.before = before
        self.form = form
        kernel = conv.weight.detach()
        scales = kernel_scales(kernel)
        steps = (kernel / scales.view(-1, 1, 1, 1)).round().clamp(-KERNEL_LEVELS, KERNEL_LEVELS)
        self.register_buffer("kernel_steps", steps.to(torch.int8))
        self.register_buffer("scales", scales)
        zero_dtype = torch.int64 if form.kernel_by_pair else torch.int8  # as quantize wants them
        self.register_buffer("zeros", torch.zeros_like(scales, dtype=zero_dtype))
        bias_scales = scales * input_scale
        self.register_buffer("bias_scales", bias_scales)
        self.register_buffer("bias_zeros", torch.zeros_like(scales, dtype=torch.int32))
        bias = torch.zeros_like(scales) if conv.bias is None else conv.bias.detach()
        wide = (bias.double() / bias_scales.double()).round().clamp(_INT32.min, _INT32.max)
        self.register_buffer("bias_steps", wide.to(torch.int32))

    def kernel(self, conv: nn.Conv2d, bn: nn.Module | None) -> tuple[Tensor, Tensor | None]:
        """Kernel and bias as numbers."""
        ops = torch.ops.quantized_decomposed
        widen = ops.dequantize_per_channel
        steps, levels = self.kernel_steps, KERNEL_LEVELS
        if self.form.kernel_by_pair:
            levels = _LITERT_KERNEL_LEVELS
            limits = (-levels, levels, torch.int8)
            steps = ops.quantize_per_channel(conv.weight, self.scales, self.zeros, 0, *limits)
        limits = (-levels, levels, torch.int8)
        kernel = widen(steps, self.scales, self.zeros, 0, *limits)
        if self.form.bias_in_float:
            return kernel, conv.bias
        limits = (_INT32.min, _INT32.max, torch.int32)
        bias = widen(self.bias_steps, self.bias_scales, self.bias_zeros, 0, *limits)
        return kernel, bias

    def forward(self, x: Tensor) -> Tensor:
        """The sum, on its grid."""
        found: Tensor = x if self.before is None else self.before(x)
        return found


def written(network: Any, form: Form = ONNX_FORM) -> Any:
    """A fused copy of a `Network` on grids, for exporters: computes the same, and cannot train.

    Values that a layer hands on are rounded once more, to the grid on which they lie: so runtimes
    see that a pooling or a copy between two convolutions needs no numbers.
    """
    made = copy.deepcopy(network).eval().fuse()
    points = points_of(made.rules)
    grids = {name: WrittenGrid(grid, form) for name, grid in made.grids.items()}
    for rule in made.rules:
        module = made.layers[rule.owner]
        if not (rule.has_kernel and isinstance(module, ConvolutionModule)):
            continue
        if form.outputs_by_float and points.source(rule.index) is None:
            module.conv.weight = nn.Parameter(rounded_kernel(module.conv.weight.detach()))
            module.int8 = None
            continue
        source = points.source(rule.sources[0])
        scale = 1.0 if source is None else grids[value_name(source)].scale
        if rule.owner == rule.index:
            before = grids.get(sum_name(rule.index))
            module.int8 = WrittenKernel(module.conv, before, scale, form)
    lent = {value_name(k): grids[value_name(source)] for k, source in points.lent.items()}
    made.grids = nn.ModuleDict({**grids, **lent})
    return made
