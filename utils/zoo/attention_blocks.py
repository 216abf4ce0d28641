"""The blocks of YOLOv10, 11, 12 and 26 that attend, in sections; as ultralytics_blocks.py.

The original has one convolution for queries, keys and values; as three, each has gammas of its own
and channels that can go, and no section has to take channels apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .draft import ConvSpec, Draft
from .ultralytics_blocks import Step, added

LAYER_SCALE = 0.01


@dataclass(frozen=True)
class Attending:
    """The convolutions of one attention: queries, keys, values, their place, what follows."""

    queries: ConvSpec
    keys: ConvSpec
    values: ConvSpec
    place: ConvSpec
    last: ConvSpec


def attend(draft: Draft, convs: Attending, heads: int, scale: float, area: int = 1) -> int:
    """Queries, keys and values of one source; attention, the values' place added; a convolution."""
    source = draft.last
    found = []
    for spec in (convs.queries, convs.keys, convs.values):
        draft.read(source)
        found.append(draft.put(spec))
    place = draft.put(convs.place)  # reads the values, which were put last
    queries, keys, values = found
    draft.attention(queries, keys, values, heads, scale, area)
    draft.shortcut(place)
    return draft.put(convs.last)


def attending(channels: int, key: int, heads: int, place: int) -> Attending:
    """`key` channels of queries and keys in each head; `place`: size of that convolution."""

    def linear(filters: int, size: int = 1, groups: int = 1) -> ConvSpec:
        return ConvSpec(filters, size, groups=groups, activation="linear")

    pairs = linear(key * heads)
    depthwise = linear(channels, place, channels)
    return Attending(pairs, pairs, linear(channels), depthwise, linear(channels))


def psa_block(draft: Draft, channels: int) -> int:
    """Attention with half as many channels of keys as of values, then two convolutions."""
    heads = max(channels // 64, 1)
    key = channels // heads // 2
    convs = attending(channels, key, heads, place=3)
    added(draft, lambda inner: attend(inner, convs, heads, key**-0.5))
    return _two_layers(draft, channels, 2 * channels)


def psa(draft: Draft, channels: int, blocks: int = 1) -> int:
    """Half of the channels go around, the other half through `blocks` of attention."""
    source, half = draft.last, channels // 2
    around = draft.put(ConvSpec(half))
    draft.read(source)
    draft.put(ConvSpec(half))
    for _ in range(blocks):
        psa_block(draft, half)
    draft.route(around, draft.last)
    return draft.put(ConvSpec(channels))


def area_block(draft: Draft, channels: int, area: int, ratio: float) -> int:
    """Attention of heads of 32 channels in bands, then two convolutions, `ratio` times as wide."""
    key = 32
    convs = attending(channels, key, channels // key, place=7)
    added(draft, lambda inner: attend(inner, convs, channels // key, key**-0.5, area))
    return _two_layers(draft, channels, int(channels * ratio))


def a2c2f(draft: Draft, channels: int, steps: Sequence[Step], scaled: bool) -> int:
    """Steps one after the other, all side by side; `scaled`: the input is added.

    What is added to is multiplied channel by channel, by a number that starts small.
    """
    source = draft.last
    parts = [draft.put(ConvSpec(channels // 2))]
    parts += [step(draft) for step in steps]
    draft.route(*parts)
    draft.put(ConvSpec(channels))
    if not scaled:
        return draft.last
    factor = ConvSpec(channels, groups=channels, activation="linear", batch_normalize=False,
                      initial=LAYER_SCALE)  # fmt: skip
    draft.put(factor)
    return draft.shortcut(source)


def _two_layers(draft: Draft, channels: int, hidden: int) -> int:
    def layers(inner: Draft) -> int:
        inner.put(ConvSpec(hidden))
        return inner.put(ConvSpec(channels, activation="linear"))

    return added(draft, layers)
