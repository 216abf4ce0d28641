"""What cfginfo.py --for says: the way to a target, fast widths, sections that are hit there."""

from __future__ import annotations

from collections.abc import Sequence

from ..cfg import Cfg
from ..network.layers import Layer
from ..runtimes.targets.advice import ADVICE, width_line
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
