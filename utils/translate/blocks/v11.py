"""YOLO11: what stands in its C3k2."""

from __future__ import annotations

from .v8 import c2f, c3
from .writer import Emitter

EMITTERS: dict[str, Emitter] = {"C3k": c3, "C3k2": c2f}
