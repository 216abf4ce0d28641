"""The one way to score a network, or any runtime that runs it, on one of a data set's lists.

By rules that are the same in no two programs (`Scoring.rules`):

coco         pycocotools' figures, in the original images
ultralytics  what its `val(rect=False)` does (8.4.190): a letterbox of grey 114 from whole JPEGs,
             boxes as they come, beyond the image's border, too, all of an image's detections, and
             the area under precision interpolated between detections, by trapezoids
"""

from __future__ import annotations

import dataclasses

from ..command.errors import UserError
from ..data.darknet_files import DataSpec
from ..data.dataset import DetectionDataset
from ..data.loader import make_loader
from ..data.options import OUR_FEEDING, ULTRALYTICS_FEEDING, Feeding
from ..network.darknet import Network
from .as_the_cfg_says import chosen_fit, chosen_nms
from .evaluate import DEFAULTS, Collected, EvalOptions, Predict, collect, measure
from .metrics import COCO_COUNTING, Counting
from .options import MAX_DET, Rules, Scoring
from .results import Metrics


def feeding_of(rules: Rules) -> Feeding:
    """How images become input."""
    return ULTRALYTICS_FEEDING if rules == "ultralytics" else OUR_FEEDING


def counting_of(rules: Rules) -> Counting:
    """How figures are counted."""
    if rules == "ultralytics":
        return Counting(MAX_DET, clipped=False, trapezoids=True)
    return COCO_COUNTING


def require_classes(spec: DataSpec, network: Network) -> None:
    """Raise UserError when a data set has another number of classes than the network."""
    if spec.nc != network.nc:
        raise UserError(
            f"{spec.source}: has {spec.nc} classes, but {network.cfg.source} is made for "
            f"{network.nc}; make_cfg.py writes a cfg for a data set"
        )


def score(
    predict: Predict,
    spec: DataSpec,
    network: Network,
    how: Scoring,
    options: EvalOptions | None = None,
    progress: bool = True,
) -> Metrics:
    """Metrics of `predict` on the validation list of `spec`, fed and filtered as `how` says.

    `network` says what the input is like; `predict` may be another runtime's. `options` are for
    thresholds, device and type of the images; its NMS is that of `how` in any case. Raises
    UserError for a data set of other classes, or without such a list.
    """
    images = scoring_images(spec, network, how)
    found = collect_on(images, predict, network, how, options, progress)
    return measure(found, spec.nc, spec.names, counting_of(how.rules))


def scoring_images(
    spec: DataSpec, network: Network, how: Scoring, task: str = "valid", strict: bool = False
) -> DetectionDataset:
    """The images of the list `task` (`valid` or `train`), fitted as the network wants them.

    Raises UserError for other classes, for a list that is not there, and, where `strict`, for
    problems in the data.
    """
    require_classes(spec, network)
    fit = chosen_fit(how.fit, network.cfg)
    return DetectionDataset(
        spec.require(task),
        spec.nc,
        network.img_size,
        fit=fit,
        strict=strict,
        channels=network.in_channels,
        feeding=feeding_of(how.rules),
    )


def collect_on(
    images: DetectionDataset,
    predict: Predict,
    network: Network,
    how: Scoring,
    options: EvalOptions | None = None,
    progress: bool = True,
) -> Collected:
    """What `predict` finds in the images, and what is there: see `score`, which measures it."""
    loader = make_loader(images, how.batch_size, how.workers)
    kind = chosen_nms(how.nms, network.heads[-1].section)
    clipped = counting_of(how.rules).clipped
    chosen = dataclasses.replace(options or DEFAULTS, nms_kind=kind, clipped=clipped)
    return collect(predict, loader, images.nc, chosen, progress)
