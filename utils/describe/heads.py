"""What make_cfg.py prints of the heads of a cfg and of its copy."""

from __future__ import annotations

from ..cfg import Cfg
from ..command.table import table
from ..network.for_data.retarget import head_stride_px, heads_of
from ..network.layers import input_shape


def head_changes(before: Cfg, after: Cfg) -> str:
    """One row per head: what became of its classes, filters and anchors."""
    rows = [["head (layer)", "stride", "classes", "filters", "anchors, px"]]
    for old, new in zip(heads_of(before), heads_of(after), strict=True):
        rows.append(
            [
                str(new.index),
                str(head_stride_px(after, new)),
                f"{old.nc} -> {new.nc}",
                f"{old.shape[0]} -> {new.shape[0]}",
                "  ".join(f"{width:g}x{height:g}" for width, height in new.anchors_px),
            ]
        )
    height, width = input_shape(after)[1:]
    return table(rows, title=f"input {height}x{width}")
