"""What cfginfo.py --for says: the way to a target, fast widths, sections that are hit there."""

from __future__ import annotations

from collections.abc import Sequence

from ..cfg import Cfg
from ..network.layers import Head, Layer
from ..runtimes.targets.advice import ADVICE
from ..runtimes.targets.names import Target
from ..runtimes.targets.rknn import hits


def target_lines(cfg: Cfg, layers: Sequence[Layer], target: Target) -> list[str]:
    """A line each."""
    lines = [f"by {ADVICE[target].way}", width_line(layers, target)]
    if target == "rknn":
        found = hits(cfg)
        lines += [f"load_darknet: {one}" for one in found]
        if not found:
            lines.append("load_darknet: no section that is known to go wrong there")
    return lines


def width_line(layers: Sequence[Layer], target: Target) -> str:
    """What a prune rounds to, and how many layers with a kernel are not that wide now.

    Those that a head reads are as wide as it says, and do not count.
    """
    advice = ADVICE[target]
    if advice.round_to == 1:
        return f"prune to any width ({advice.why})"
    read_by_head = {
        source for layer in layers if isinstance(layer, Head) for source in layer.sources
    }
    widths = [
        layer.shape[0] for layer in layers if layer.macs() and layer.index not in read_by_head
    ]
    odd = sum(width % advice.round_to > 0 for width in widths)
    return (
        f"prune with --for {target}, to multiples of {advice.round_to} ({advice.why}); "
        f"{odd} of {len(widths)} layers with a kernel have another width now"
    )
