"""Training images as the network sees them in use: for what is measured on them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from ..command.machine.device import pick_device
from ..data.darknet_files import load_data_file
from ..data.dataset import DetectionDataset
from ..data.letterbox import unit_range
from ..data.loader import make_loader
from ..network.darknet import Network
from .as_the_cfg_says import chosen_fit
from .options import Scoring
from .score import require_classes


def training_batches(
    network: Network, how: Scoring, batch_size: int, images: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Up to `images` images of the training list and their targets, drawn by `how.seed`.

    Not augmented: statistics of the images that the network will meet. Images are float32
    (B, C, H, W) in 0..1 on the device, targets (T, 6) as `Batch` has them. Raises UserError
    when the data set names no training images, or has other classes.
    """
    spec = load_data_file(how.data)
    require_classes(spec, network)
    dataset = DetectionDataset(
        spec.require("train"),
        spec.nc,
        network.img_size,
        fit=chosen_fit(how.fit, network.cfg),
        seed=how.seed,
        channels=network.in_channels,
    )
    loader = make_loader(dataset, batch_size, how.workers, shuffle=True)
    device = pick_device(how.device)
    left = images
    for batch in loader:
        shown = batch.to(device)
        targets = shown.targets[shown.targets[:, 0] < left]
        yield unit_range(shown.images[:left]), targets
        left -= len(batch.images)
        if left <= 0:
            return
