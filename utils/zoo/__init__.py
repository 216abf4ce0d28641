"""The cfg zoo: architectures as code, written as Darknet cfg files.

A cfg lists sections; which of them form a stage, a block or a head is left to the reader. Here each
architecture says it in its own words, and `python -m utils.zoo` writes the text.
"""

from __future__ import annotations

from collections.abc import Callable

from .demo import demo
from .yolov3 import yolov3, yolov3_spp, yolov3_tiny
from .yolov4 import yolov4, yolov4_csp
from .yolov4_tiny import yolov4_tiny, yolov4_tiny_3l
from .yolov8 import YOLOV8

ZOO: dict[str, Callable[[], str]] = {
    "yolov3": yolov3,
    "yolov3-spp": yolov3_spp,
    "yolov3-tiny": yolov3_tiny,
    "yolov4": yolov4,
    "yolov4-csp": yolov4_csp,
    "yolov4-tiny": yolov4_tiny,
    "yolov4-tiny-3l": yolov4_tiny_3l,
    **YOLOV8,
    "demo": demo,
}

__all__ = ["ZOO"]
