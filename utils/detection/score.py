"""The mAP of any runtime on a data set's validation list."""

from __future__ import annotations

from ..data.darknet_files import DataSpec
from ..data.dataset import DetectionDataset
from ..data.loader import make_loader
from ..data.options import Fit
from .evaluate import Metrics, Predict, evaluate
from .options import NmsKind


def score(
    predict: Predict, spec: DataSpec, img_size: tuple[int, int], fit: Fit, nms_kind: NmsKind
) -> Metrics:
    """As val.py scores it, in this process alone."""
    dataset = DetectionDataset(spec.require("valid"), spec.nc, img_size, fit=fit)
    loader = make_loader(dataset, 8, 0)
    return evaluate(predict, loader, spec.nc, spec.names, nms_kind=nms_kind)
