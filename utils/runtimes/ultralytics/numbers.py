"""A network's state by ultralytics' modules, each with the widths that it has now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ...cfg.module_note import (
    FIXED,
    HALVES,
    KEYS,
    LIKE_VALUES,
    QUERIES,
    VALUES,
    Held,
)
from ...command.errors import UserError
from ...network.layers import Layer
from ...network.layers.normalization import BN_EPS
from ...network.module_form import modules_of, require_form
from ...network.weights import State, key_of

_OF_BN = {"gamma": "bn.weight", "beta": "bn.bias", "mean": "bn.running_mean",
          "variance": "bn.running_var"}  # fmt: skip


@dataclass(frozen=True)
class ModuleNumbers:
    """One module's arrays: kernel (O, I / groups, k, k), and bias (O,) or four of its BN.

    part: of the notes; "" for a module that is its convolution.
    """

    module: str
    part: str
    groups: int
    arrays: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ByModule:
    """All that goes into the library's modules: `attributes` by module, then by name."""

    numbers: tuple[ModuleNumbers, ...]
    attributes: Mapping[str, Mapping[str, float]]
    eps: float = BN_EPS


def by_module(layers: Sequence[Layer], state: State) -> ByModule:
    """The state in the modules' order of channels, which is not ours.

    Raises UserError for layers with numbers that no module holds, or counts that none can hold.
    """
    held = modules_of(layers)
    require_form(layers)
    for layer in layers:
        if layer.fields() and layer.index not in held:
            raise UserError(
                f"{layer.section.source}: ultralytics' network has no module for layer "
                f"{layer.index} ([{layer.kind}]): what is not its own cannot go back"
            )
    parts: dict[str, dict[str, ModuleNumbers]] = {}
    for index, found in held.items():
        if found.part != FIXED:
            one = ModuleNumbers(found.module, found.part, layers[index].groups,
                                _arrays(layers[index], state))  # fmt: skip
            parts.setdefault(found.module, {})[found.part] = one
    attentions = _attentions(layers, held)
    attributes: dict[str, Mapping[str, float]] = {}
    numbers = []
    for module, pieces in parts.items():
        if set(HALVES) <= pieces.keys():
            halves = [pieces[part] for part in HALVES]
            numbers.append(_joined(module, halves))
            attributes[_parent(module)] = {"c": len(halves[0].arrays["kernel"])}
        elif {KEYS, VALUES} <= pieces.keys() and module in attentions:
            layer = attentions[module]
            numbers.append(_head_by_head(module, pieces, layer))
            attributes[_parent(module)] = _of_heads(layer, pieces)
        else:
            numbers += pieces.values()
    return ByModule(tuple(numbers), attributes)


def _arrays(layer: Layer, state: State) -> dict[str, Tensor]:
    """By the names that their side knows."""
    found = {"kernel": state[key_of(layer.index, "conv.weight")].detach().cpu().float()}
    names = _OF_BN if layer.normalized else {"bias": "conv.bias"}
    for ours, name in names.items():
        found[ours] = state[key_of(layer.index, name)].detach().cpu().float()
    return found


def _attentions(layers: Sequence[Layer], held: Mapping[int, Held]) -> dict[str, Layer]:
    """`[attention]` by the module that makes its queries."""
    found = {}
    for layer in layers:
        if layer.paired is not None and layer.sources[0] in held:
            found[held[layer.sources[0]].module] = layer
    return found


def _joined(module: str, pieces: Sequence[ModuleNumbers]) -> ModuleNumbers:
    """Filters one after the other."""
    names = pieces[0].arrays.keys()
    if any(piece.arrays.keys() != names for piece in pieces):
        raise UserError(f"the parts of {module} differ: one has a batch normalisation, one none")
    arrays = {name: torch.cat([piece.arrays[name] for piece in pieces]) for name in names}
    return ModuleNumbers(module, "", 1, arrays)


def _head_by_head(module: str, pieces: Mapping[str, ModuleNumbers], layer: Layer) -> ModuleNumbers:
    """Queries, keys and values of the first head, then those of the next."""
    first = LIKE_VALUES if LIKE_VALUES in pieces else QUERIES
    queries = pieces[first]
    if first == LIKE_VALUES:  # the module scales by its width, which is another one now
        width = len(queries.arrays["kernel"]) // _heads(layer)
        queries = _scaled(queries, _scale(layer) * width**0.5)
    joined = _joined(module, [queries, pieces[KEYS], pieces[VALUES]])
    counts = [len(part.arrays["kernel"]) for part in (queries, pieces[KEYS], pieces[VALUES])]
    rows = torch.split(torch.arange(sum(counts)), counts)
    order = torch.cat([part.view(_heads(layer), -1) for part in rows], 1).flatten()
    arrays = {name: tensor[order] for name, tensor in joined.arrays.items()}
    return replace(joined, arrays=arrays)


def _scaled(piece: ModuleNumbers, factor: float) -> ModuleNumbers:
    """Its outputs multiplied."""
    scaled = ("gamma", "beta") if "gamma" in piece.arrays else ("kernel", "bias")
    arrays = {
        name: tensor * factor if name in scaled else tensor for name, tensor in piece.arrays.items()
    }
    return replace(piece, arrays=arrays)


def _of_heads(layer: Layer, pieces: Mapping[str, ModuleNumbers]) -> dict[str, float]:
    """The attributes that say how the one convolution is split."""
    heads = _heads(layer)
    keys, values = (len(pieces[part].arrays["kernel"]) for part in (KEYS, VALUES))
    return {
        "num_heads": heads,
        "key_dim": keys // heads,
        "head_dim": values // heads,
        "all_head_dim": values,
        "scale": _scale(layer),
    }


def _heads(layer: Layer) -> int:
    return layer.section.integer("heads", 1)


def _scale(layer: Layer) -> float:
    return layer.section.number("scale")


def _parent(module: str) -> str:
    return module.rpartition(".")[0]
