"""A cfg's network as a module of torch's own parts, for libraries that trace modules.

Nothing of ours is left in it: convolutions, batch normalisations, activations, sums, joins, pools
and nearest-neighbour upsampling, run in a loop. Heads hand on what they read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from utils.network.layers import INPUT, Convolutional, Head, Layer, Shortcut
from utils.network.layers.activations import LEAKY_SLOPE
from utils.network.layers.normalization import BN_EPS
from utils.network.layers.pooling import MaxPool, Upsample
from utils.network.layers.routing import Route
from utils.network.weights import index_of, name_of

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "leaky": lambda: nn.LeakyReLU(LEAKY_SLOPE),  # type: ignore[dict-item]
    "mish": nn.Mish,
    "relu": nn.ReLU,
    "swish": nn.SiLU,
    "linear": nn.Identity,
}


class PlainModule(nn.Module):
    """Layers in order; the value is the list of what the heads read, each (B, C, H, W).

    Raises ValueError for a section that it does not know.
    """

    def __init__(self, layers: Sequence[Layer], state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.sources = [layer.sources for layer in layers]
        self.heads = [layer.index for layer in layers if isinstance(layer, Head)]
        own: dict[int, dict[str, Tensor]] = {layer.index: {} for layer in layers}
        for key, tensor in state.items():
            own[index_of(key)][name_of(key)] = tensor
        self.parts = nn.ModuleList(_part(layer, own[layer.index]) for layer in layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        """From images (B, C, H, W)."""
        values = {INPUT: x}
        for index, (part, sources) in enumerate(zip(self.parts, self.sources, strict=True)):
            values[index] = part(*(values[source] for source in sources))
        return [values[index] for index in self.heads]

    @property
    def read_by_heads(self) -> list[nn.Module]:
        """The convolutions whose outputs mean something: they keep their channels."""
        read = {source for head in self.heads for source in self.sources[head]}
        return [self.parts[index].conv for index in sorted(read)]  # type: ignore[misc]


class _Convolution(nn.Module):
    def __init__(self, layer: Convolutional, own: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            layer.inputs[0][0],
            layer.filters,
            layer.size,
            layer.stride,
            layer.padding * layer.dilation,
            layer.dilation,
            layer.groups,
            bias=not layer.normalized,
        )
        self.bn = nn.BatchNorm2d(layer.filters, BN_EPS) if layer.normalized else nn.Identity()
        self.act = ACTIVATIONS[layer.activation]()
        self.load_state_dict(dict(own), strict=False)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.act(self.bn(self.conv(x)))
        return found


class _Join(nn.Module):
    def forward(self, *parts: Tensor) -> Tensor:
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


class _Sum(nn.Module):
    def forward(self, *parts: Tensor) -> Tensor:
        return parts[0] + parts[1]


class _Pool(nn.Module):
    """Darknet's padding: the larger half behind."""

    def __init__(self, layer: MaxPool) -> None:
        super().__init__()
        before = layer.padding // 2
        self.around = (before, layer.padding - before) * 2
        self.pool = nn.MaxPool2d(layer.size, layer.stride)

    def forward(self, x: Tensor) -> Tensor:
        padded = nn.functional.pad(x, self.around, value=-torch.inf) if any(self.around) else x
        found: Tensor = self.pool(padded)
        return found


def _part(layer: Layer, own: Mapping[str, Tensor]) -> nn.Module:
    if isinstance(layer, Head) or (isinstance(layer, Route) and layer.groups == 1):
        return _Join()
    if isinstance(layer, Convolutional) and layer.activation in ACTIVATIONS:
        return _Convolution(layer, own)
    if isinstance(layer, Shortcut) and layer.activation == "linear" and not layer.weighted:
        return _Sum()
    if isinstance(layer, MaxPool):
        return _Pool(layer)
    if isinstance(layer, Upsample) and layer.stride > 0:
        return nn.Upsample(scale_factor=layer.stride)
    raise ValueError(f"layer {layer.index}: [{layer.kind}] has no plain form here")
