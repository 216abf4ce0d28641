"""Which parameters of a network are masked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from ..command.errors import UserError
from ..network.darknet import Network
from ..network.named_layers import named_layers
from ..network.weights import key_of
from .options import ParameterName


@dataclass(frozen=True)
class Target:
    """One parameter to mask: `getattr(module, name)`, `key` in the network's state."""

    layer: int
    kind: str
    module: nn.Module
    name: str
    key: str


def find_targets(
    network: Network,
    layers: Sequence[str] = (),
    parameters: Sequence[ParameterName] = ("weight",),
    whole_outputs: bool = False,
) -> list[Target]:
    """The parameters of the layers with a kernel of their own, in the order of the network.

    layers: indices, ranges or kinds; empty means all. A layer's `weight` is its kernel; its `bias`
    is what it adds to each output: batch normalisation's beta where it has one. whole_outputs: of
    all layers, leave out those that a head reads, since a head gives each channel a meaning.
    Raises UserError for a word that names no such layer.
    """
    with_kernel = {
        rule.index: rule.kind for rule in network.rules if _kernel(network.layers[rule.index])
    }
    if layers:
        chosen = set(named_layers("layers", layers, with_kernel, "layer with a kernel"))
    else:
        read = {source for head in network.heads for source in head.sources}
        chosen = set(with_kernel) - (read if whole_outputs else set())
    found = [
        Target(index, kind, module, name, key_of(index, f"{path}.{name}"))
        for index, kind in with_kernel.items()
        if index in chosen
        for path, module, name in _parameters(network.layers[index], parameters)
    ]
    if not found:
        raise UserError("there is nothing to mask: no layer with a kernel is left")
    return found


def _kernel(layer: nn.Module) -> tuple[str, nn.Module] | None:
    """The convolution or linear map of a layer's module, with its path."""
    for path, child in layer.named_children():
        if isinstance(child, nn.Conv2d | nn.Linear):
            return path, child
    return None


def _parameters(
    layer: nn.Module, parameters: Sequence[ParameterName]
) -> Iterator[tuple[str, nn.Module, str]]:
    found = _kernel(layer)
    assert found is not None  # the caller has asked
    path, kernel = found
    if "weight" in parameters:
        yield path, kernel, "weight"
    if "bias" in parameters:
        biased = kernel.bias is None
        yield ("bn", layer.get_submodule("bn"), "bias") if biased else (path, kernel, "bias")
