"""Which OpenCV the tests run with: what needs the importer of cfgs skips with 5, and says so."""

from __future__ import annotations

import cv2
import pytest

READS_CFG = hasattr(cv2.dnn, "readNetFromDarknet")
needs_cfg_importer = pytest.mark.skipif(
    not READS_CFG, reason="needs OpenCV 4: OpenCV 5 dropped its importer of Darknet files"
)
