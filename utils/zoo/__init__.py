"""The cfg zoo: architectures as code, written as Darknet cfg files.

A cfg lists sections; which of them form a stage, a block or a head is left to the reader. Here each
architecture says it in its own words, and `python -m utils.zoo` writes the text.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from . import pyramid, yolo11, yolo12, yolov8, yolov10
from .demo import demo
from .draft import COCO_CLASSES
from .yolov3 import yolov3, yolov3_spp, yolov3_tiny
from .yolov4 import yolov4, yolov4_csp
from .yolov4_tiny import yolov4_tiny, yolov4_tiny_3l

# Those whose widths go by the classes: name -> text for so many.
BY_CLASSES: dict[str, Callable[[int], str]] = {
    f"{family}{size}": partial(text, size)
    for family, text, sizes in (
        ("yolov8", yolov8.yolov8, yolov8.SIZES),
        ("yolov10", yolov10.yolov10, yolov10.SIZES),
        ("yolo11", yolo11.yolo11, pyramid.SIZES),
        ("yolo12", yolo12.yolo12, pyramid.SIZES),
        ("yolo26", yolo11.yolo26, pyramid.SIZES),
    )
    for size in sizes
}
IN_CFG = "yolov8"  # the only one of these families whose files lie in cfg/

ZOO: dict[str, Callable[[], str]] = {
    "yolov3": yolov3,
    "yolov3-spp": yolov3_spp,
    "yolov3-tiny": yolov3_tiny,
    "yolov4": yolov4,
    "yolov4-csp": yolov4_csp,
    "yolov4-tiny": yolov4_tiny,
    "yolov4-tiny-3l": yolov4_tiny_3l,
    **{
        name: partial(text, COCO_CLASSES)
        for name, text in BY_CLASSES.items()
        if name.startswith(IN_CFG)
    },
    "demo": demo,
}

__all__ = ["BY_CLASSES", "ZOO"]
