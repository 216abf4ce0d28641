"""The blocks of YOLOv9: reparameterized convolutions, ELAN, and poolings by averages."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers.normalization import BN_EPS
from ..zoo import ultralytics_blocks as sections
from ..zoo.ultralytics_blocks import BottleneckSpec
from .blocks import halves_of, pool_size
from .convs import TensorConv, activation_of, bare_conv, read_conv
from .network import Emitter, Writer
from .stubs import Node


def _rep_conv(node: Node) -> TensorConv:
    """Parallel convolutions (and maybe the input), each normalised, as one normalised convolution.

    The sum of W_k x scaled by s_k = gamma_k / sqrt(var_k + eps) is one convolution. Its mean is the
    sum of s_k * mean_k; its variance, if the branches are uncorrelated, that of gamma_k^2. With
    these the sum keeps a gamma, which says how much a channel varies, as sparse training and
    pruning need; the values are the same whatever variance is noted.
    """
    if node.has("conv"):  # fused by ultralytics
        return bare_conv(node.child("conv"), activation_of(node))
    conv = bare_conv(node.child("conv1").child("conv"), activation_of(node))
    branches = [_scaled(node.child(name)) for name in ("conv1", "conv2")]
    if node.has("bn"):
        inputs = branches[0][0].shape[1]
        if conv.groups != 1 or inputs != conv.filters:
            raise node.error("adds an input of another width")
        one = torch.eye(inputs, dtype=torch.float64).view(inputs, inputs, 1, 1)
        branches.append(_normalized_kernel(one, node.child("bn")))
    kernels = [_padded(kernel, conv.size, node) for kernel, *_ in branches]
    variance = sum((gamma**2 for *_, gamma in branches), torch.zeros(1)).clamp(min=2 * BN_EPS)
    tensors = {
        "conv.weight": torch.stack(kernels).sum(0),
        "bn.bias": torch.stack([beta for _, _, beta, _ in branches]).sum(0),
        "bn.weight": variance.sqrt(),
        "bn.running_mean": torch.stack([mean for _, mean, _, _ in branches]).sum(0),
        "bn.running_var": variance - BN_EPS,
    }
    return TensorConv(
        filters=conv.filters,
        size=conv.size,
        stride=conv.stride,
        groups=conv.groups,
        activation=conv.activation,
        padding=conv.padding,
        tensors={name: tensor.float() for name, tensor in tensors.items()},
    )


Branch = tuple[Tensor, Tensor, Tensor, Tensor]  # kernel and mean, both scaled; beta, gamma


def _scaled(node: Node) -> Branch:
    if activation_of(node) != "linear":
        raise node.error("a branch with an activation of its own")
    return _normalized_kernel(node.child("conv").tensor("weight").double(), node.child("bn"))


def _normalized_kernel(kernel: Tensor, bn: Node) -> Branch:
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


def _rep_csp(writer: Writer, node: Node) -> int:
    inner = []
    for m in node.child("m").children():
        if m.kind != "RepBottleneck":
            raise m.error("a block inside a block that is not translated")
        convs = (_rep_conv(m.child("cv1")), read_conv(m.child("cv2")))
        inner.append(BottleneckSpec(convs, bool(m.value("add", False))))
    through, around, last = (read_conv(node.child(f"cv{k}")) for k in (1, 2, 3))
    return sections.c3(writer, through, inner, around, last)


def _stage(writer: Writer, node: Node) -> int:
    """What ELAN has in its rows: convolutions and RepCSP, one after the other."""
    if node.kind == "Conv":
        return writer.put(read_conv(node))
    if node.kind == "RepCSP":
        return _rep_csp(writer, node)
    if node.kind != "Sequential":
        raise node.error("a block inside a block that is not translated")
    for child in node.children():
        _stage(writer, child)
    return writer.last


def _elan(writer: Writer, node: Node) -> int:
    """As C2f: two halves, two stages one after the other from the second, all side by side."""
    source = writer.last
    first, second = halves_of(node, read_conv(node.child("cv1")))
    parts = [writer.put(first)]
    writer.route(source)
    parts.append(writer.put(second))
    parts += [_stage(writer, node.child(name)) for name in ("cv2", "cv3")]
    writer.route(*parts)
    return writer.put(read_conv(node.child("cv4")))


def _spp_elan(writer: Writer, node: Node) -> int:
    sizes = {pool_size(node.child(name)) for name in ("cv2", "cv3", "cv4")}
    if len(sizes) != 1:
        raise node.error("only poolings of one size are translated")
    first, last = (read_conv(node.child(name)) for name in ("cv1", "cv5"))
    return sections.sppf(writer, first, last, sizes.pop())


def _average(writer: Writer, channels: int) -> int:
    """Means of 2x2 cells at stride 1, without padding.

    As a convolution of each channel by itself: [local_avgpool] is one section, but OpenCV and
    other forks of Darknet do not know it.
    """
    tensors = {
        "conv.weight": torch.full((channels, 1, 2, 2), 0.25),
        "conv.bias": torch.zeros(channels),
    }
    return writer.put(
        TensorConv(
            filters=channels,
            size=2,
            groups=channels,
            activation="linear",
            batch_normalize=False,
            padding=0,
            tensors=tensors,
        )
    )


def _a_conv(writer: Writer, node: Node) -> int:
    conv = read_conv(node.child("cv1"))
    _average(writer, conv.tensors["conv.weight"].shape[1])
    return writer.put(conv)


def _a_down(writer: Writer, node: Node) -> int:
    """Half of the channels through a convolution, the others through a pooling and another one."""
    strided, pooled = (read_conv(node.child(name)) for name in ("cv1", "cv2"))
    widths = [conv.tensors["conv.weight"].shape[1] for conv in (strided, pooled)]
    if widths[0] != widths[1]:
        raise node.error(f"halves of {widths[0]} and {widths[1]} channels are not translated")
    source = _average(writer, sum(widths))
    writer.half(source, 0)
    first = writer.put(strided)
    writer.half(source, 1)
    writer.maxpool(3, 2)
    second = writer.put(pooled)
    return writer.route(first, second)


V9_EMITTERS: dict[str, Emitter] = {
    "AConv": _a_conv,
    "ADown": _a_down,
    "ELAN1": _elan,
    "RepCSP": _rep_csp,
    "RepNCSPELAN4": _elan,
    "SPPELAN": _spp_elan,
}
