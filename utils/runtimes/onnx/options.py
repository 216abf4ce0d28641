"""What an ONNX file may hold, as plain values: nothing here loads anything."""

from __future__ import annotations

from typing import Literal

Layout = Literal["rows", "yolov5", "yolov8", "deepstream"]  # of the boxes: ours, or other families'
