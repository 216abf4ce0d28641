"""The blocks of YOLOv7, and the folded image that it and the first YOLOv5 start with."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..reading.stubs import Node
from .convs import fixed_conv, read_conv
from .rep_conv import rep_conv
from .v8 import parallel_pools, pool_size
from .writer import INPUT, Emitter, Writer

_IMAGE_CHANNELS = 3
# The order in which the cells (row, column) of 2x2 pixels are stacked.
_CELLS = ((0, 0), (1, 0), (0, 1), (1, 1))


def _rep(writer: Writer, node: Node) -> int:
    return writer.put(rep_conv(node))


def _halving_pool(writer: Writer, node: Node) -> int:
    pool = node.child("m")
    shape = pool.integer("kernel_size"), pool.integer("stride"), pool.integer("padding", 0)
    if shape != (2, 2, 0):
        raise pool.error("only poolings of 2x2 cells, side by side, are translated")
    return writer.maxpool(2, 2)


def _pool(writer: Writer, node: Node) -> int:
    return writer.maxpool(pool_size(node.child("m")), 1)


def _spp_csp(writer: Writer, node: Node) -> int:
    """Poolings side by side between convolutions, and one convolution around all of it."""
    source = writer.last
    for name in ("cv1", "cv3", "cv4"):
        writer.put(read_conv(node.child(name)))
    parallel_pools(writer, node.child("m"))
    for name in ("cv5", "cv6"):
        through = writer.put(read_conv(node.child(name)))
    writer.read(source)
    around = writer.put(read_conv(node.child("cv2")))
    writer.route(through, around)
    return writer.put(read_conv(node.child("cv7")))


def _focus(writer: Writer, node: Node) -> int:
    """Folding and a convolution: one of twice the size at stride 2."""
    if node.has("contract"):
        raise node.error("stacks the pixels in another order, which is not translated")
    conv = read_conv(node.child("conv"))
    if conv.stride != 1 or conv.groups != 1 or conv.padding is not None or conv.size % 2 == 0:
        raise node.error("only a plain convolution of odd size is translated")
    kernel = conv.tensors["conv.weight"]
    if kernel.shape[1] % len(_CELLS):
        raise node.error(f"reads {kernel.shape[1]} channels, which are no four of each")
    return writer.put(
        replace(
            conv,
            size=2 * conv.size,
            stride=2,
            padding=conv.size - 1,
            tensors={**conv.tensors, "conv.weight": _unfolded(kernel)},
        )
    )


def _reorg(writer: Writer, node: Node) -> int:
    """The image folded, without a convolution of its own: one of zeros and ones does it."""
    if writer.last != INPUT:
        raise node.error("folds something else than the image, which is not translated")
    channels = _IMAGE_CHANNELS * len(_CELLS)
    one = torch.eye(channels).view(channels, channels, 1, 1)
    return writer.put(fixed_conv(_unfolded(one), stride=2))


def _unfolded(kernel: Tensor) -> Tensor:
    """A kernel (O, 4 C, k, k) on folded pixels as one (O, C, 2 k, 2 k) on the pixels themselves."""
    channels, size = kernel.shape[1] // len(_CELLS), kernel.shape[2]
    whole = kernel.new_zeros(kernel.shape[0], channels, 2 * size, 2 * size)
    for part, (row, column) in zip(torch.split(kernel, channels, 1), _CELLS, strict=True):
        whole[:, :, row::2, column::2] = part
    return whole


EMITTERS: dict[str, Emitter] = {
    "Focus": _focus,
    "MP": _halving_pool,
    "ReOrg": _reorg,
    "RepConv": _rep,
    "SP": _pool,
    "SPPCSPC": _spp_csp,
}
