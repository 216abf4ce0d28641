"""The cut: (cfg, state, plan) -> (cfg, state), a pure function, layer by layer.

Before a pruned channel goes, the constant that it emits (activation(beta), since its gamma counts
as 0) moves into the mean or bias of whatever reads it. With zero padding that is exact everywhere
but at the border, where a reader's kernel meets padding in place of the constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..cfg import Cfg, drop_layers, replace_layers
from ..network.channel_links import Link
from ..network.layers import INPUT, Layer, Params
from ..network.weights import State, key_of, split_state
from .merge import Merge
from .plan import PrunePlan


@dataclass(frozen=True)
class CutLayer:
    """One layer of the cut: the full layer, its original parameters, its sliced ones.

    For a layer that goes as a whole both are its original ones, and mean nothing.
    """

    layer: Layer
    left: Layer  # what the layer becomes before slicing: itself, but for blocks' activations
    original: Params
    whole: Params  # of `left`, before anything is folded or sliced
    incoming: tuple[Tensor, ...]  # the constants of each of its sources
    merges: tuple[Merge, ...]  # of its sources
    sliced: Params
    kept: Tensor  # mask over the full output channels
    constants: Tensor  # (C,) float64: what each full channel adds to the value after pruning


def walk_constants(state: Mapping[str, Tensor], plan: PrunePlan) -> dict[int, Tensor]:
    """What each channel (C,) of every layer adds to its value after pruning, in float64.

    Raises UnfoldableError where a constant on a kept channel cannot be carried on.
    """
    layers = plan.graph.layers
    constants = {INPUT: torch.zeros(layers[0].inputs[0][0], dtype=torch.float64)}
    for layer, own in zip(layers, split_state(state, layers), strict=True):
        params: Params = own
        incoming = [constants[source] for source in layer.sources]
        kept = plan.kept(layer.index)
        left = plan.layers[layer.index]
        if left is not layer:
            # The activation is applied to the source plus a constant, and takes that as its bias.
            incoming = [sum(incoming, torch.zeros_like(incoming[0]))]
            params = left.absorb(_ones_and_zeros(layer.shape[0], torch.float64), incoming)
        else:
            sources = [source for source in layer.sources if source != INPUT]
            arrives = [(constants[source] != 0).numpy() for source in sources]
            layer.require_carried(arrives, [plan.kept(source).numpy() for source in sources])
        constants[layer.index] = left.constants(params, incoming, kept)
    return constants


def cut_layers(
    state: Mapping[str, Tensor], plan: PrunePlan, exact: bool = False
) -> Iterator[CutLayer]:
    """Fold and slice one layer after the other, in the state's own type.

    `exact`: whatever folding changes is left in float64, as it was before rounding.
    """
    layers = plan.graph.layers
    constants = walk_constants(state, plan)
    for layer, own in zip(layers, split_state(state, layers), strict=True):
        index, left = layer.index, plan.layers[layer.index]
        incoming = tuple(constants[source] for source in layer.sources)
        whole: Params = own
        if left is not layer:
            whole = _ones_and_zeros(layer.shape[0], _dtype(state))
            incoming = (sum(incoming, torch.zeros_like(incoming[0])),)
        merges = tuple(plan.merges[source] for source in layer.sources if source in plan.merges)
        kept, sliced = plan.kept(index), whole
        if index not in plan.stand_in:
            if exact:
                sliced = {n: t.double() if merges or t.dim() == 1 else t for n, t in whole.items()}
            sliced = _cut(left, sliced, incoming, merges, plan.kept_inputs(index), kept)
        yield CutLayer(layer, left, own, whole, incoming, merges, sliced, kept, constants[index])


def _cut(
    layer: Layer,
    params: Params,
    incoming: Sequence[Tensor],
    merges: Sequence[Merge],
    keeps: Sequence[Tensor],
    kept: Tensor,
) -> Params:
    """A layer's parameters with the constants folded in, for the channels that stay."""
    if layer.sums_inputs:  # outputs know nothing of each other: first let go those that go
        everything = [torch.ones_like(keep) for keep in keeps]
        params = layer.slice(params, everything, kept)
        kept = torch.ones(int(kept.sum()), dtype=torch.bool)
    params = folded(layer, params, incoming, merges)
    return layer.slice(params, keeps, kept)


def folded(
    layer: Layer, params: Params, incoming: Sequence[Tensor], merges: Sequence[Merge]
) -> Params:
    """Its parameters with constants taken in, and with the weights of repeated inputs summed."""
    if any(constant.any() for constant in incoming):
        params = layer.absorb(params, incoming)
    for merge in merges:
        params = layer.merge_inputs(params, merge.parts)
    return params


def _ones_and_zeros(channels: int, dtype: torch.dtype) -> Params:
    """The parameters of `activation_alone` before any constant arrives."""
    weight = torch.ones(channels, 1, 1, 1, dtype=dtype)
    return {"conv.weight": weight, "conv.bias": torch.zeros(channels, dtype=dtype)}


def _dtype(state: Mapping[str, Tensor]) -> torch.dtype:
    """The type of a state's tensors."""
    return next(iter(state.values())).dtype


def surviving(plan: PrunePlan) -> dict[int, int]:
    """Old index -> new index of every layer that stays."""
    sections = tuple(layer.section for layer in plan.graph.layers)
    return drop_layers(Cfg(sections[0], sections), plan.stand_in)[1]


def links_of(plan: PrunePlan) -> list[Link]:
    """Which channels of the full network those of each layer that stays are."""
    return [
        Link(new, old, tuple(plan.kept(old).nonzero().flatten().tolist()))
        for old, new in surviving(plan).items()
    ]


def prune(cfg: Cfg, state: Mapping[str, Tensor], plan: PrunePlan) -> tuple[Cfg, State]:
    """The pruned cfg and its state. Neither argument is changed."""
    places = surviving(plan)
    sections = {}
    pruned: State = {}
    for cut in cut_layers(state, plan):
        index = cut.layer.index
        if index not in places:
            continue
        sections[index] = plan.section(index)
        if cut.layer.owner == index:
            for name, tensor in cut.sliced.items():
                pruned[key_of(places[index], name)] = _own(tensor, cut.original.get(name))
    small, _ = drop_layers(replace_layers(cfg, sections), plan.stand_in)
    return small, pruned


def _own(tensor: Tensor, original: Tensor | None) -> Tensor:
    """The tensor, or a copy where nothing was cut and it is the original's memory."""
    shared = original is not None and tensor.data_ptr() == original.data_ptr()
    return tensor.clone() if shared else tensor
