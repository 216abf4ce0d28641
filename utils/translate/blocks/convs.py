"""A module with a convolution -> its section and its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ...cfg.module_note import FIXED
from ...network.layers.normalization import BN_EPS
from ...network.weights import State
from ...zoo.draft import ConvSpec
from ..reading.stubs import Node

# Activations of PyTorch by their Darknet names.
_ACTIVATIONS = {
    "SiLU": "swish",
    "Identity": "linear",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "Mish": "mish",
    "Sigmoid": "logistic",
    "Tanh": "tanh",
    "ELU": "elu",
}
_LEAKY_SLOPE = 0.1


@dataclass(frozen=True)
class TensorConv(ConvSpec):
    """A ConvSpec with the tensors of its module, by our names.

    place: of the module, as `Node.place`; "" where no single one holds them. part: see
    cfg/module_note.py.
    """

    tensors: State = field(default_factory=dict)
    place: str = ""
    part: str = ""


def read_conv(node: Node) -> TensorConv:
    """A Conv block (convolution, BN, activation), fused or not, or a bare Conv2d.

    Raises UserError for what no `[convolutional]` says.
    """
    if node.kind == "Conv2d":
        return bare_conv(node, "linear")
    conv = replace(bare_conv(node.child("conv"), activation_of(node)), place=node.place)
    if not node.has("bn"):
        return conv
    return _normalized(conv, node.child("bn"))


def bare_conv(node: Node, activation: str) -> TensorConv:
    """A Conv2d by itself, to be followed by an activation. Raises UserError as `read_conv`."""
    weight = node.tensor("weight")
    if weight.dim() != 4 or weight.shape[2] != weight.shape[3]:
        raise node.error(f"a kernel of shape {tuple(weight.shape)} has no section")
    filters, size = weight.shape[0], weight.shape[2]
    if node.integer("dilation", 1) != 1:
        raise node.error("dilation is not translated")
    if node.value("padding_mode", "zeros") != "zeros":
        raise node.error(f"padding with {node.value('padding_mode')} has no section")
    padding = node.integer("padding", 0)
    bias = node.tensor("bias") if node.has("bias") else torch.zeros(filters)
    return TensorConv(
        filters=filters,
        size=size,
        stride=node.integer("stride", 1),
        groups=node.integer("groups", 1),
        activation=activation,
        batch_normalize=False,
        padding=None if padding == size // 2 else padding,
        tensors={"conv.weight": weight, "conv.bias": bias},
        place=node.place,
    )


def fixed_conv(
    kernel: Tensor,
    stride: int = 1,
    groups: int = 1,
    padding: int | None = 0,
    place: str = "",
    part: str = FIXED,
) -> TensorConv:
    """A convolution by a kernel (O, C, k, k) of our own: no bias, activation or BN."""
    return TensorConv(
        filters=kernel.shape[0],
        size=kernel.shape[2],
        stride=stride,
        groups=groups,
        activation="linear",
        batch_normalize=False,
        padding=padding,
        tensors={"conv.weight": kernel, "conv.bias": torch.zeros(kernel.shape[0])},
        place=place,
        part=part,
    )


def _normalized(conv: TensorConv, bn: Node) -> TensorConv:
    """With batch normalisation, its epsilon made Darknet's by adding the difference to variances.

    A bias of the convolution itself goes into the mean.
    """
    variance = bn.tensor("running_var").double() + bn.number("eps", 1e-5) - BN_EPS
    weight = conv.tensors["conv.weight"]
    ones = torch.ones(conv.filters)
    return replace(
        conv,
        batch_normalize=True,
        tensors={
            "conv.weight": weight,
            "bn.bias": bn.tensor("bias") if bn.has("bias") else torch.zeros(conv.filters),
            "bn.weight": bn.tensor("weight") if bn.has("weight") else ones,
            "bn.running_mean": bn.tensor("running_mean") - conv.tensors["conv.bias"],
            "bn.running_var": variance.float(),
        },
    )


def normalized_together(convs: Sequence[TensorConv], bn: Node, activation: str) -> list[TensorConv]:
    """Bare convolutions that are stacked before one BN and activation, each with its part."""
    counts = [conv.filters for conv in convs]
    biases = torch.cat([conv.tensors["conv.bias"] for conv in convs])
    stack = TensorConv(
        filters=sum(counts),
        size=1,
        activation=activation,
        tensors={"conv.weight": torch.zeros(sum(counts), 1, 1, 1), "conv.bias": biases},
    )
    return [
        replace(
            conv,
            activation=activation,
            batch_normalize=True,
            tensors={**part.tensors, "conv.weight": conv.tensors["conv.weight"]},
            place="",
        )
        for conv, part in zip(convs, split_conv(_normalized(stack, bn), counts), strict=True)
    ]


def activation_of(node: Node) -> str:
    """Darknet's name of what follows the convolution."""
    if not node.has("act"):
        raise node.error("has no activation 'act'")
    act = node.child("act")
    if act.kind == "LeakyReLU" and act.number("negative_slope", 0.01) == _LEAKY_SLOPE:
        return "leaky"
    if act.kind not in _ACTIVATIONS:
        raise act.error("this activation has no name in Darknet")
    return _ACTIVATIONS[act.kind]


def split_conv(conv: TensorConv, counts: Sequence[int]) -> list[TensorConv]:
    """The convolution as several, the first with the first `counts[0]` filters, and so on.

    ValueError unless the counts add up; groups must be 1.
    """
    if conv.groups != 1 or sum(counts) != conv.filters:
        raise ValueError(f"{conv.filters} filters in {conv.groups} groups do not split so {counts}")
    parts = {name: torch.split(tensor, list(counts)) for name, tensor in conv.tensors.items()}
    return [
        replace(conv, filters=count, tensors={name: part[i] for name, part in parts.items()})
        for i, count in enumerate(counts)
    ]
