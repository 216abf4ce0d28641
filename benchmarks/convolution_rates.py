"""What bounds a training step: the rates of a network's convolutions, beside a matrix product's.

    python -m benchmarks.convolution_rates --cfg yolov8n-bccd.cfg --img-size 320 --batch-size 16

Each convolution of another shape is timed by itself, in float32: forward, the gradient of its input
and that of its kernels, in both layouts, the least processor time of --runs. Nothing else of a step
is in the sums, and every convolution takes the layout that is best for it: a step of the same
kernels cannot take less.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from models import Darknet
from utils.command.cli import Parser, add_img_size, img_size, positive_int, run_main
from utils.command.table import table
from utils.network.cfg_of import read_cfg

LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
PARTS = ("forward", "input", "kernel")
MATRIX = 2048
_aten: Any = torch.ops.aten


@dataclass(frozen=True)
class Shape:
    """A convolution without its weights."""

    channels: int
    filters: int
    size: int
    stride: int
    groups: int
    height: int
    width: int

    @property
    def gflop(self) -> float:
        """Of one forward pass of one image."""
        padded = self.size // 2 * 2
        out = [(side + padded - self.size) // self.stride + 1 for side in (self.height, self.width)]
        each = self.channels // self.groups * self.size**2
        return 2e-9 * self.filters * out[0] * out[1] * each


def shapes_of(network: Darknet, height: int, width: int) -> Counter[Shape]:
    """How often each shape occurs at an input size."""
    found: Counter[Shape] = Counter()

    def note(module: nn.Conv2d, inputs: tuple[torch.Tensor], _: torch.Tensor) -> None:
        size, stride = int(module.kernel_size[0]), int(module.stride[0])
        channels, *sides = inputs[0].shape[1:]
        found[Shape(channels, module.out_channels, size, stride, module.groups, *sides)] += 1

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    with torch.no_grad():
        network.eval()(torch.rand(1, network.in_channels, height, width))
    return found


def seconds(call: Callable[[], object], runs: int) -> float:
    """Least processor time of a call, after one to warm up."""
    call()
    least = float("inf")
    for _ in range(runs):
        began = time.process_time()
        call()
        least = min(least, time.process_time() - began)
    return least


def parts_s(shape: Shape, batch: int, layout: torch.memory_format, runs: int) -> list[float]:
    """Seconds of forward, gradient of the input, gradient of the kernel."""
    x = torch.rand(batch, shape.channels, shape.height, shape.width).to(memory_format=layout)
    kernel = torch.rand(shape.filters, shape.channels // shape.groups, shape.size, shape.size)
    kernel = kernel.to(memory_format=layout)
    how = ([shape.stride] * 2, [shape.size // 2] * 2, [1, 1], False, [0, 0], shape.groups)

    def forward() -> torch.Tensor:
        out: torch.Tensor = _aten.convolution(x, kernel, None, *how)
        return out

    upper = torch.rand_like(forward())
    masks = ([True, False, False], [False, True, False])
    backward = partial(_aten.convolution_backward, upper, x, kernel, None, *how)
    calls: list[Callable[[], object]] = [forward, *(partial(backward, mask) for mask in masks)]
    return [seconds(call, runs) for call in calls]


def matrix_gflops(runs: int) -> float:
    """Rate of a large matrix product."""
    a, b = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
    return 2e-9 * MATRIX**3 / seconds(lambda: a @ b, runs)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--cfg", required=True)
    add_img_size(parser)
    parser.add_argument("--batch-size", type=positive_int, default=16)
    parser.add_argument("--runs", type=positive_int, default=3, help="counted calls")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    network = Darknet(read_cfg(args.cfg))
    height, width = img_size(args.img_size) or network.img_size
    print(f"a matrix product, {MATRIX} x {MATRIX}: {matrix_gflops(args.runs):.0f} GFLOP/s")
    lines = [["convolution", "times", "GFLOP", *(f"{n} {p}" for n in LAYOUTS for p in PARTS)]]
    best, gflop = [0.0] * len(PARTS), 0.0
    sums = {name: [0.0] * len(PARTS) for name in LAYOUTS}
    for shape, times in shapes_of(network, height, width).items():
        work = shape.gflop * args.batch_size
        took = {
            name: parts_s(shape, args.batch_size, layout, args.runs)
            for name, layout in LAYOUTS.items()
        }
        for part in range(len(PARTS)):
            best[part] += times * min(each[part] for each in took.values())
            for name, each in took.items():
                sums[name][part] += times * each[part]
        gflop += times * work
        rates = [f"{work / s:.0f}" for each in took.values() for s in each]
        words = f"{shape.channels} -> {shape.filters}, {shape.size}/{shape.stride}, {shape.height}"
        lines.append([words, str(times), f"{work:.2f}", *rates])
    whole = [f"{gflop / s:.0f}" for each in sums.values() for s in each]
    lines.append(["all", "", f"{gflop:.1f}", *whole])
    print(table(lines, right=range(1, len(lines[0]))))
    for name, each in (*sums.items(), ("the better of both", best)):
        shares = ", ".join(f"{p} {s:.2f}" for p, s in zip(PARTS, each, strict=True))
        print(f"{name}: {sum(each):.2f} s ({shares})")


if __name__ == "__main__":
    run_main(main)
