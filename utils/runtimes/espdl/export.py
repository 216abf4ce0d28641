"""A network as an .espdl file for ESP-DL, by Espressif's own quantizer, and simulated by it.

The file ends with the heads' raw channels, which the application decodes as ncnn's: pixels and
probabilities in one tensor leave no scale for both.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from ...command.folders import put_together, scratch_folder
from ...detection.evaluate import Predict
from ...network.darknet import Network
from ..agreement import compare_outputs
from ..onnx.export import OnnxOptions, save_onnx
from ..options import Chip, target_files
from ..other_python import interpreter
from ..real_images import Images, as_batch
from ..results import Agreement
from .operators import require_operators
from .simulation import Simulated

T = TypeVar("T")


@dataclass(frozen=True)
class Order:
    """What to make: for which chip, calibrated on which images, by which Python ("": this one)."""

    chip: Chip
    calibration: Images
    metadata: Mapping[str, str]
    python: str = ""


@torch.no_grad()
def export_espdl(
    network: Network, stem: Path, order: Order, images: Images, measure: Callable[[Predict], T]
) -> tuple[Agreement, T]:
    """Put STEM.espdl and its JSON in place, once the simulation has run on `images`.

    The second value is what `measure` says of the simulation. Raises UserError for what ESP-DL
    cannot run and where esp-ppq fails; nothing is left then.
    """
    python = interpreter("espdl", order.python)
    batch = as_batch(images)
    expected = copy.deepcopy(network).eval().fuse()(batch)
    metadata = told(order)
    with scratch_folder(stem) as folder:
        save_onnx(network, folder / "model.onnx", OnnxOptions(network.img_size, raw=True), {})
        require_operators(folder / "model.onnx", str(network.cfg.source))
        np.save(folder / "calibration.npy", np.concatenate(order.calibration))
        job = json.dumps({"chip": order.chip, "metadata": metadata})
        (folder / "job.json").write_text(job, encoding="utf-8")
        with Simulated(python, folder, network) as simulated:
            agreement = compare_outputs(simulated(batch), expected)
            found = measure(simulated)
        made = target_files(folder / "model", "espdl")
        made[1].write_text(json.dumps(metadata, indent=1, sort_keys=True), encoding="utf-8")
        put_together(made, target_files(stem, "espdl"))
    return agreement, found


def told(order: Order) -> dict[str, str]:
    """The metadata of the file: as of an ONNX file, but for what is otherwise on the chip."""
    preprocessing = json.loads(order.metadata["preprocessing"])
    return {
        **order.metadata,
        "preprocessing": json.dumps({**preprocessing, "layout": "NHWC"}),
        "output": "head0, head1, ...: a head's raw channels, NHWC int8, times 2^exponent",
        "int8": f"{len(order.calibration)} images",
        "chip": order.chip,
    }
