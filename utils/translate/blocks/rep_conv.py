"""Reparameterized convolutions, of YOLOv7, v9 and v10: parallel branches, written as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...cfg.module_note import BRANCHES
from ...network.layers.normalization import BN_EPS
from ..reading.stubs import Node
from .convs import TensorConv, activation_of, bare_conv

# Kernel and mean, both scaled; beta, gamma.
_Branch = tuple[Tensor, Tensor, Tensor, Tensor]


def rep_conv(node: Node) -> TensorConv:
    """Parallel convolutions (and maybe the input), each normalised, as one normalised convolution.

    The sum of W_k x scaled by s_k = gamma_k / sqrt(var_k + eps) is one convolution. Its mean is the
    sum of s_k * mean_k; its variance, if the branches are uncorrelated, that of gamma_k^2. With
    these the sum keeps a gamma, which says how much a channel varies, as sparse training and
    pruning need; the values are the same whatever variance is noted.

    Raises UserError for branches that are no single convolution.
    """
    activation = activation_of(node)
    for fused in ("conv", "rbr_reparam"):  # by ultralytics, by YOLOv7
        if node.has(fused):
            return _already_one(node, bare_conv(node.child(fused), activation))
    pairs, same = _all_branches(node)
    conv = bare_conv(pairs[0][0], activation)
    branches = _kernels(pairs)
    if node.has(same):
        inputs = branches[0][0].shape[1]
        if conv.groups != 1 or inputs != conv.filters:
            raise node.error("adds an input of another width")
        one = torch.eye(inputs, dtype=torch.float64).view(inputs, inputs, 1, 1)
        branches.append(_normalized_kernel(one, node.child(same)))
    return _summed(node, conv, branches)


def rep_vgg_dw(node: Node) -> TensorConv:
    """YOLOv10's depthwise pair, 7x7 and 3x3, as `rep_conv`; fused, it has one kernel left.

    Raises UserError for branches that are no single convolution.
    """
    activation = activation_of(node)
    if not node.has("conv1"):
        return _already_one(node, bare_conv(node.child("conv"), activation))
    pairs = _branches(node, ("conv", "conv1"))
    conv = bare_conv(pairs[0][0], activation)
    if any(bare_conv(pair[0], "linear").groups != conv.groups for pair in pairs):
        raise node.error("its branches have different groups")
    return _summed(node, conv, _kernels(pairs))


def _already_one(node: Node, conv: TensorConv) -> TensorConv:
    """Fused by the library: the block holds it, whatever the convolution in it is called."""
    return replace(conv, place=node.place, part=BRANCHES)


def _kernels(pairs: Sequence[tuple[Node, Node]]) -> list[_Branch]:
    return [_normalized_kernel(conv.tensor("weight").double(), bn) for conv, bn in pairs]


def _summed(node: Node, conv: TensorConv, branches: Sequence[_Branch]) -> TensorConv:
    """`conv` with the sum of all branches, whose kernels are no larger than its own."""
    kernels = [_padded(kernel, conv.size, node) for kernel, *_ in branches]
    variance = sum((gamma**2 for *_, gamma in branches), torch.zeros(1)).clamp(min=2 * BN_EPS)
    tensors = {
        "conv.weight": torch.stack(kernels).sum(0),
        "bn.bias": torch.stack([beta for _, _, beta, _ in branches]).sum(0),
        "bn.weight": variance.sqrt(),
        "bn.running_mean": torch.stack([mean for _, mean, _, _ in branches]).sum(0),
        "bn.running_var": variance - BN_EPS,
    }
    floats = {name: tensor.float() for name, tensor in tensors.items()}
    return replace(conv, batch_normalize=True, tensors=floats, place=node.place, part=BRANCHES)


def _all_branches(node: Node) -> tuple[list[tuple[Node, Node]], str]:
    """(convolution, BN) of each branch, the largest kernel's first, and the input's BN by name."""
    if node.has("rbr_dense"):  # YOLOv7: bare pairs
        pairs = [tuple(node.child(name).children()) for name in ("rbr_dense", "rbr_1x1")]
        if any(len(pair) != 2 for pair in pairs):
            raise node.error("a branch that is no convolution with its normalisation")
        return [(pair[0], pair[1]) for pair in pairs], "rbr_identity"
    return _branches(node, ("conv1", "conv2")), "bn"


def _branches(node: Node, names: Sequence[str]) -> list[tuple[Node, Node]]:
    """(convolution, BN) of the Conv blocks of these names."""
    convs = [node.child(name) for name in names]
    if any(activation_of(conv) != "linear" for conv in convs):
        raise node.error("a branch with an activation of its own")
    return [(conv.child("conv"), conv.child("bn")) for conv in convs]


def _normalized_kernel(kernel: Tensor, bn: Node) -> _Branch:
    gamma, beta, mean, variance = (
        bn.tensor(name).double() for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / (variance + bn.number("eps", 1e-5)).sqrt()
    return kernel * scale.view(-1, 1, 1, 1), mean * scale, beta, gamma


def _padded(kernel: Tensor, size: int, node: Node) -> Tensor:
    """The kernel in the middle of one of `size`."""
    margin, odd = divmod(size - kernel.shape[2], 2)
    if odd or margin < 0:
        raise node.error(f"branches of sizes {size} and {kernel.shape[2]} have no common middle")
    return F.pad(kernel, (margin,) * 4)
