"""A cfg and weights that Darknet and OpenCV read as they are: the pair that is handed over."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from ...cfg import save_cfg
from ...command.errors import UserError
from ...command.folders import put_together, scratch_folder
from ...command.machine.timing import time_forward_ms
from ...detection.evaluate import Predict
from ...network.batch_norm.epsilon import for_epsilon
from ...network.darknet import Build, Network
from ...network.for_data.retarget import with_img_size
from ...network.importers import require_darknet, require_opencv
from ...network.weights import save_checked_weights
from ..agreement import compare_outputs
from ..opencv import OpenCVDarknet
from ..options import Pair, target_files
from ..real_images import Images, as_batch
from ..results import Agreement

_TIMED_S = 5


@torch.no_grad()
def export_pair(
    network: Network, stem: Path, kind: Pair, images: Images, build: Build, tolerance: float
) -> Agreement:
    """Put STEM.cfg and STEM.weights of a loaded network in place, after running them on `images`.

    The weights fit every runtime's epsilon of batch normalisation, Darknet's as well as OpenCV's.
    "opencv" runs the pair by OpenCV's importer, "darknet" by what reads Darknet's files here.
    Raises UserError when the results differ from the network's, and leaves nothing then.
    """
    (require_opencv if kind == "opencv" else require_darknet)(network.rules)
    fused: Network = copy.deepcopy(network).eval().fuse()
    batch = as_batch(images)
    with scratch_folder(stem) as folder:
        made = target_files(folder / "model", kind)
        cfg = network.cfg
        sized = (cfg.net.integer("height"), cfg.net.integer("width")) == network.img_size
        save_cfg(cfg if sized else with_img_size(cfg, network.img_size), made[0])
        state = for_epsilon(network.state_dict(), network.rules, "any")
        save_checked_weights(made[1], network.rules, state, network.seen)
        agreement = compare_outputs(_opened(kind, made, build)(batch), fused(batch))
        if agreement.difference > tolerance or agreement.moved:
            raise UserError(
                f"{stem}: not written, since the pair in {kind} differs from PyTorch "
                f"({agreement}; allowed: {tolerance:g})"
            )
        put_together(made, target_files(stem, kind))
    return agreement


def pass_ms(run: Predict, images: Images) -> float:
    """Milliseconds of a runtime's forward pass of one image: the median of some."""
    image = as_batch(images[:1])
    return time_forward_ms(lambda: run(image), runs=20, most_s=_TIMED_S).median_ms


def _opened(kind: Pair, files: tuple[Path, ...], build: Build) -> Predict:
    cfg, weights = files
    if kind == "opencv":
        return OpenCVDarknet(cfg, weights)
    model: Predict = build(cfg, weights=weights).eval()
    return model
