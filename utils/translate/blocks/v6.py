"""YOLOv6: its upsampling has kernels of its own."""

from __future__ import annotations

import torch

from ...cfg.module_note import TRANSPOSED
from ..reading.stubs import Node
from .convs import TensorConv
from .writer import Emitter, Writer


def _conv_transpose(writer: Writer, node: Node) -> int:
    """Each cell becomes a block of stride x stride cells, each by a kernel of its own.

    So it is one convolution for all cells of a block, spread by `[reorg] reverse=1`. Raises
    UserError for kernels that overlap.
    """
    kernel = node.tensor("weight")  # (inputs, filters, row, column)
    stride = node.integer("stride", 1)
    plain = all(
        node.integer(key, value) == value
        for key, value in (("padding", 0), ("output_padding", 0), ("dilation", 1), ("groups", 1))
    )
    if not plain or kernel.dim() != 4 or tuple(kernel.shape[2:]) != (stride, stride):
        raise node.error("only kernels side by side are translated: as large as their stride")
    inputs, filters = kernel.shape[:2]
    bias = node.tensor("bias") if node.has("bias") else torch.zeros(filters)
    count = filters * stride**2
    writer.put(
        TensorConv(
            filters=count,
            activation="linear",
            batch_normalize=False,
            tensors={
                "conv.weight": kernel.permute(2, 3, 1, 0).reshape(count, inputs, 1, 1),
                "conv.bias": bias.repeat(stride**2),
            },
            place=node.place,
            part=TRANSPOSED,
        )
    )
    return writer.spread(stride)


EMITTERS: dict[str, Emitter] = {"ConvTranspose2d": _conv_transpose}
