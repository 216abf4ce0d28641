"""A model run over pictures and videos, by any runtime."""

from __future__ import annotations

from pathlib import Path

import cv2

from ...command.errors import UserError
from ...command.files import alone
from ...command.folders import first_free, require_free
from ...command.machine.device import pick_device
from ...data.darknet_files import load_data_file, load_names
from ...detection.as_the_cfg_says import chosen_fit, chosen_nms
from ...detection.detector import Detector, DetectorOptions
from ...detection.options import CONF_THRES as LEAST_CONF
from ...detection.sources import find_sources
from ...network.darknet import Build, Network, names_of
from ..choose import open_backend
from .options import DetectOptions
from .session import Session, require_window
from .tally import Tally

_LONGEST_STEM = 60  # characters of a source that name a folder


def detect_files(options: DetectOptions, build: Build) -> Tally:
    """Find, draw and write; a line on stdout for each source.

    What cannot be read is reported and skipped. Raises UserError for files that do not fit each
    other, a folder that is taken, and when nothing at all could be read; no folder is left then.
    """
    # A picture that does not open is told in a line of our own.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    sources = find_sources(options.source)
    folder = output_folder(options)
    if options.keep.view:
        require_window()
    with alone(folder):
        network: Network = build(options.inputs.cfg, options.inputs.img_size)
        detector = open_detector(options, network)
        names = class_names(options.names, network)
        tally = Tally(folder, names, faint_conf=faint(options, network))
        tally.faint_is_best = tally.faint_conf == network.best_conf
        folder.mkdir(parents=True, exist_ok=True)
        try:
            batch_size = pictures_at_once(options, network)
            return Session(detector, tally, options.keep, batch_size).all(sources)
        except (UserError, OSError, KeyboardInterrupt):
            if not any(folder.iterdir()):
                folder.rmdir()
            raise


def open_detector(options: DetectOptions, network: Network) -> Detector:
    """The network with its weights in its runtime. Raises UserError where that cannot be."""
    device = pick_device(options.device if options.backend == "torch" else "cpu")
    predict = open_backend(
        options.backend, network, options.inputs.weights, device, options.threads
    )
    how = DetectorOptions(
        img_size=network.img_size,
        fit=chosen_fit(options.fit, network.cfg),
        nms_kind=chosen_nms(options.nms, network.heads[-1].section),
        conf_thres=options.conf_thres,
        iou_thres=options.iou_thres,
        max_det=options.max_det,
        device=device,
        channels=network.in_channels,
        faint_conf=faint(options, network),
    )
    return Detector(predict, how)


def pictures_at_once(options: DetectOptions, network: Network) -> int:
    """As asked; but 1 where a picture's numbers could depend on the others of its batch.

    Products of matrices may be summed in another order for another batch, and so may a shared
    kernel's, which is no `SteadyConv2d`; other runtimes have kernels of their own.
    """
    by_itself = options.backend != "torch" or any(
        rule.sums_by_batch or rule.owner != rule.index for rule in network.rules
    )
    return 1 if by_itself else options.batch_size


def faint(options: DetectOptions, network: Network) -> float:
    """The score from which boxes are counted where none is shown: of the best F1, if that is known.

    Else a fifth of the threshold.
    """
    best = network.best_conf
    lower = best if best and best < options.conf_thres else options.conf_thres / 5
    return max(lower, LEAST_CONF)


def output_folder(options: DetectOptions) -> Path:
    """A free folder. Raises UserError when the one that the user names holds files."""
    if options.output:
        return require_free(options.output, "--output")
    stem = "".join(c if c.isalnum() else "-" for c in Path(options.source).stem).strip("-")
    return first_free(Path(options.project) / (options.name or stem[:_LONGEST_STEM] or "all"))


def class_names(path: str | None, network: Network) -> tuple[str, ...]:
    """A name per class of the network: of a file, else as its checkpoint says; else numbers.

    Raises UserError when the file has another number of them.
    """
    if path is None:
        return names_of(network)
    names = load_data_file(path).names if Path(path).suffix == ".data" else load_names(path)
    if len(names) != network.nc:
        raise UserError(
            f"{path}: has {len(names)} names, but {network.cfg.source} is made for "
            f"{network.nc} classes"
        )
    return names
