"""Every cfg that is at hand, ours and Darknet's own, for inputs small enough to run them all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.golden import GOLDEN
from utils.cfg import Cfg, load_cfg, set_option, with_net
from utils.network.layers import build_layers

ROOT = Path(__file__).resolve().parents[2]

ZOO_CFGS = {
    **{f"ours/{path.stem}": path for path in sorted((ROOT / "cfg").glob("*.cfg"))},
    **{f"darknet/{path.stem}": path for path in sorted((GOLDEN / "cfg").glob("*.cfg"))},
}
QUICK = {"ours/demo", "darknet/tiny", "darknet/enet-coco"}  # a second or two each


def zoo(*left_out: str) -> list[Any]:
    """A parameter per cfg but those, by its path; what takes seconds is marked slow."""
    return [
        pytest.param(path, id=name, marks=[] if name in QUICK else [pytest.mark.slow])
        for name, path in ZOO_CFGS.items()
        if name not in left_out
    ]


def small(path: Path, rows: int = 2) -> Cfg:
    """The cfg for an input of so many rows of its coarsest map, and half as many columns again."""
    cfg = load_cfg(path)
    height = cfg.net.integer("height")
    heights = [layer.shape[1] for layer in build_layers(cfg) if min(layer.shape[1:]) > 1]
    stride = max(height // count for count in heights)
    size = set_option(cfg.net, "height", rows * stride)
    return with_net(cfg, set_option(size, "width", 3 * rows // 2 * stride))
