"""How the boxes of an ONNX file lie: as ours, or as decoders of other families want them."""

from __future__ import annotations

from typing import Literal

Layout = Literal["rows", "yolov5", "yolov8", "deepstream"]
