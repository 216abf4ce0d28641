"""Exporting a model: the files are made aside, run by their own runtime, and then put in place."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from ...command.errors import UserError
from ...data.darknet_files import DataSpec, load_data_file, load_list
from ...detection.as_the_cfg_says import chosen_fit
from ...detection.options import Scoring
from ...detection.results import Metrics
from ...detection.score import require_classes, score
from ...network.darknet import Build, Network, names_of
from ..choose import torch_backend, with_weights
from ..onnx.export import onnx_metadata
from ..real_images import Images, calibration_inputs, network_inputs
from ..results import Agreement
from .check import check_files
from .files import FileOptions, open_exported, write_files
from .options import ExportOptions, target_files
from .pair import export_pair
from .results import Exported

TOLERANCE, HALF_TOLERANCE = 1e-3, 2e-2  # largest difference from PyTorch, see Agreement
CHECKED_IMAGES = 4
EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "demo.png"


def export_model(options: ExportOptions, build: Build) -> Exported:
    """Make the files that `options` ask for; of int8, the mAP before and after as well.

    Raises UserError for what is not installed, files that do not fit each other, files that would
    be replaced, and a result that is not PyTorch's; nothing is left then.
    """
    options.require_possible()
    network: Network = build(options.inputs.cfg, options.inputs.img_size)
    spec = load_data_file(options.data) if options.data else None
    if spec:
        require_classes(spec, network)
    fit = chosen_fit(options.fit, network.cfg)
    with_weights(network, options.inputs.weights)
    images = network_inputs(checked_images(spec), network.img_size, fit, network.in_channels)
    if not images:
        raise UserError(f"{options.data}: none of the first images of its list opens")
    made = target_files(options.stem, options.format)
    if options.format == "darknet" or options.format == "opencv":
        agreement = export_pair(network, options.stem, options.format, images, build, TOLERANCE)
        return Exported(made, agreement, len(images))
    calibration: Images = ()
    if options.int8 and spec:
        spec.require("valid")  # for `int8_worth`, which comes after all the work
        calibration = calibration_inputs(
            spec, options.calibration_images, network.img_size, fit, network.in_channels
        )
    files = FileOptions(
        kind=options.format,
        img_size=network.img_size,
        dynamic=options.dynamic,
        half=options.half,
        calibration=calibration,
        nms=options.nms,
    )
    names = spec.names if spec else names_of(network)
    metadata = onnx_metadata(network, names, fit)
    agreement = export_network(network, options.stem, files, metadata, images)
    worth = int8_worth(options, network, spec) if calibration and spec else ()
    return Exported(made, agreement, len(images), worth)


def export_network(
    network: Network,
    stem: Path,
    options: FileOptions,
    metadata: Mapping[str, str],
    images: Images,
) -> Agreement:
    """Put STEM's files of a loaded network in place, after running them on `images`.

    Raises UserError when the runtime's results differ from PyTorch's by more than the tolerance
    (int8 differs by nature: its worth is its mAP), and leaves nothing then.
    """
    try:
        folder = tempfile.TemporaryDirectory(dir=stem.parent, prefix=".export-")
    except OSError as error:
        raise UserError(f"{stem.parent}: cannot be written to ({error.strerror})") from None
    with folder as name:
        made = Path(name) / "model"
        write_files(network, made, options, metadata)
        agreement = check_files(network, made, options, images)
        limit = HALF_TOLERANCE if options.half else TOLERANCE
        wrong = agreement.difference > limit or (agreement.moved and not options.half)
        if wrong and not options.calibration:
            raise UserError(
                f"{stem}: not written, since the {options.kind} model differs from PyTorch "
                f"({agreement}; allowed: {limit:g})"
            )
        files = (target_files(place, options.kind) for place in (made, stem))
        for source, target in zip(*files, strict=True):
            source.replace(target)
    return agreement


def checked_images(spec: DataSpec | None) -> list[Path]:
    """The first images of the validation list, or of the training list, or our own picture."""
    if spec is None:
        return [EXAMPLE]
    entries = load_list(spec.valid or spec.require("train"))
    return [path for _, path in entries[:CHECKED_IMAGES]]


def int8_worth(
    options: ExportOptions, network: Network, spec: DataSpec
) -> tuple[tuple[str, Metrics], ...]:
    """Metrics of the float32 model in PyTorch, and of the int8 files in their runtime."""
    how = Scoring(fit=options.fit, batch_size=8, workers=0)
    assert options.format != "darknet" and options.format != "opencv"  # they know no int8
    quantized = open_exported(options.format, options.stem, network)
    runs = (
        ("float32 (PyTorch)", torch_backend(network)),
        (f"int8 ({options.format})", quantized),
    )
    return tuple((name, score(predict, spec, network, how)) for name, predict in runs)
