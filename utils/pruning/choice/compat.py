"""The prunable sets of the known pruning suite, for comparisons with its results.

That suite knows architectures by the sections that follow each other; so does this module, and no
other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...network.layers import Layer


def kept_by_the_known_suite(layers: Sequence[Layer], keep_summed: bool) -> Mapping[int, str]:
    """Convolutions with batch normalisation that it never prunes, and why.

    keep_summed: also those that a shortcut adds up, as its `prune.py` does.
    """
    kinds = [layer.section.kind for layer in layers]
    found: dict[int, str] = {}
    for index, layer in enumerate(layers):
        if not layer.normalized:
            continue
        following = kinds[index + 1 : index + 3]
        if following == ["maxpool", "route"]:
            found[index] = "--compat: taken for the entry of an SPP"
        elif following[:1] == ["route"] and layers[index + 1].section.has("groups"):
            found[index] = "--compat: before a route with groups"
        elif following[:1] == ["upsample"]:
            found[index] = "--compat: before an upsample"
    if keep_summed:
        for layer in layers:
            if layer.joins_branch:
                before, source = layer.index - 1, layer.sources[1]
                ends = (before, source - 1 if layers[source].joins_branch else source)
                found |= dict.fromkeys(ends, "--compat: a shortcut adds it to others")
    return found
