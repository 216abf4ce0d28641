"""The one way to score a network, or any runtime that runs it, on a data set's validation list."""

from __future__ import annotations

from ..command.errors import UserError
from ..data.darknet_files import DataSpec
from ..data.dataset import DetectionDataset
from ..data.loader import make_loader
from ..network.darknet import Network
from .as_the_cfg_says import chosen_fit, chosen_nms
from .evaluate import EvalOptions, Metrics, Predict, collect, measure
from .options import Scoring


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
    require_classes(spec, network)
    dataset = DetectionDataset(
        spec.require("valid"),
        spec.nc,
        network.img_size,
        fit=chosen_fit(how.fit, network.cfg),
        channels=network.in_channels,
    )
    loader = make_loader(dataset, how.batch_size, how.workers)
    kind = chosen_nms(how.nms, network.heads[-1].section)
    found = collect(predict, loader, spec.nc, (options or EvalOptions()).with_nms(kind), progress)
    return measure(found, spec.nc, spec.names)
