"""The one way to score a network, or any runtime that runs it, on one of a data set's lists."""

from __future__ import annotations

from ..command.errors import UserError
from ..data.darknet_files import DataSpec
from ..data.dataset import DetectionDataset
from ..data.loader import make_loader
from ..network.darknet import Network
from .as_the_cfg_says import chosen_fit, chosen_nms
from .evaluate import DEFAULTS, Collected, EvalOptions, Predict, collect, measure
from .options import Scoring
from .results import Metrics


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
    return measure(found, spec.nc, spec.names)


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
    return collect(predict, loader, images.nc, (options or DEFAULTS).with_nms(kind), progress)
