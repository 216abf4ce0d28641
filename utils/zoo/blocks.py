"""Blocks that several architectures share."""

from __future__ import annotations

from .draft import Draft


def residual(draft: Draft, narrow: int, wide: int) -> int:
    """Darknet-53's bottleneck: 1x1 to `narrow`, 3x3 to `wide`, and the input added."""
    source = draft.last
    draft.conv(narrow, 1)
    draft.conv(wide, 3)
    return draft.shortcut(source)


def alternate(draft: Draft, narrow: int, count: int) -> int:
    """`count` convolutions: 1x1 to `narrow`, 3x3 to twice that, 1x1 to `narrow`, ..."""
    for position in range(count):
        if position % 2:
            draft.conv(2 * narrow, 3)
        else:
            draft.conv(narrow, 1)
    return draft.last


def pyramid_pooling(draft: Draft) -> int:
    """SPP: the last layer beside its maxima over 5x5, 9x9 and 13x13 (He et al. 2014)."""
    source = draft.last
    draft.note("SPP")
    pooled = [draft.maxpool(5, 1)]
    for size in (9, 13):
        draft.route(source)
        pooled.append(draft.maxpool(size, 1))
    return draft.route(*reversed(pooled), source)


def csp_stage(draft: Draft, filters: int, blocks: int, *, first: bool = False) -> int:
    """Half the channels through `blocks` residual blocks, half around them (CSPNet, 2019).

    The first stage of CSPDarknet-53 keeps all channels on both ways.
    """
    width = filters if first else filters // 2
    entry = draft.conv(filters, 3, stride=2)
    around = draft.conv(width, 1)
    draft.route(entry)
    draft.conv(width, 1)
    for _ in range(blocks):
        residual(draft, filters // 2, width)
    through = draft.conv(width, 1)
    draft.route(through, around)
    return draft.conv(filters, 1)
