"""Exporting a model: the files are made aside, run by their own runtime, and then put in place."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from ...command.errors import UserError
from ...command.files import alone, settle
from ...command.folders import put_together, scratch_folder
from ...data.darknet_files import DataSpec, load_data_file, load_list
from ...data.options import Fit
from ...detection.as_the_cfg_says import chosen_fit
from ...detection.evaluate import Predict
from ...detection.options import Scoring
from ...detection.results import Metrics
from ...detection.score import require_classes, score
from ...network.darknet import Build, Network, names_of
from ...network.int8.convert import put_on_grids, take_off_grids
from ..agreement import finds_something
from ..choose import torch_backend, with_weights
from ..espdl.export import Order, export_espdl
from ..files import FINETUNED, FileOptions, open_file, write_files
from ..onnx.best import needs_no_nms
from ..onnx.export import onnx_metadata
from ..onnx.integer_errors import IntegerErrors
from ..onnx.integers import integer_errors
from ..opencv import OpenCVDarknet
from ..options import CHIPS, Format, Pair, is_pair, target_files
from ..real_images import Images, as_batch, calibration_inputs, network_inputs
from ..results import Agreement
from ..ultralytics.export import export_ultralytics
from .check import check_files
from .options import ExportOptions
from .pair import export_pair, pass_ms
from .results import Exported

logger = logging.getLogger(__name__)

TOLERANCE, HALF_TOLERANCE = 1e-3, 2e-2  # largest difference from PyTorch, see Agreement
MOST_BY_INTEGERS = 2.0  # of what the rounding costs
CHECKED_IMAGES, LOOKED_AT = 4, 32
Worth = tuple[tuple[str, Metrics], ...]  # as in Exported
EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "demo.png"


def export_model(options: ExportOptions, build: Build) -> Exported:
    """Make the files that `options` ask for; of int8, the mAP before and after as well.

    Raises UserError for what is not installed, files that do not fit each other, files that would
    be replaced, and a result that is not PyTorch's; nothing is left then.
    """
    made = target_files(options.stem, options.format)
    with alone(*made):
        settle(*made)
        return _export(options, build)


def _export(options: ExportOptions, build: Build) -> Exported:
    """As `export_model`, with the outputs kept for it."""
    options.require_possible()
    network: Network = build(options.inputs.cfg, options.inputs.img_size)
    spec = load_data_file(options.data) if options.data else None
    if spec:
        require_classes(spec, network)
    fit = chosen_fit(options.fit, network.cfg)
    with_weights(network, options.inputs.weights)
    images = checked_images(spec, network, fit)
    if not images:
        raise UserError(f"{options.data}: none of the first images of its list opens")
    if options.layout != "rows" and needs_no_nms(network):
        raise UserError("--layout: this network's file ends with its best 300 boxes (one2one)")
    if options.nms and needs_no_nms(network):
        raise UserError("--nms: this network needs none (one2one): its file ends with its best 300")
    made = target_files(options.stem, options.format)
    if options.format == "ultralytics":
        names = spec.names if spec else names_of(network)
        stem, python = options.stem, options.python
        found = export_ultralytics(network, stem, images, names, python, TOLERANCE)
        return Exported(made, found, len(images))
    if options.format == "espdl":
        assert spec is not None  # ExportOptions wants `data` for it
        return _export_espdl(options, network, spec, fit, images)
    if is_pair(options.format):
        kind: Pair = "opencv" if options.format == "opencv" else "darknet"
        agreement = export_pair(network, options.stem, kind, images, build, TOLERANCE)
        ms = pass_ms(OpenCVDarknet(*made), images) if kind == "opencv" else None
        return Exported(made, agreement, len(images), median_ms=ms)
    trained = options.int8 and _takes_ranges(options, network)
    calibration: Images = ()
    if options.int8 and spec:
        spec.require("valid")  # for `int8_worth`, which comes after all the work
        calibration = () if trained else _calibration(options, spec, network, fit)
    files = FileOptions(
        kind=options.format,
        img_size=network.img_size,
        dynamic=options.dynamic,
        half=options.half,
        calibration=calibration,
        trained=trained,
        nms=options.nms,
        layout=options.layout,
    )
    names = spec.names if spec else names_of(network)
    metadata = onnx_metadata(network, names, fit)
    agreement, integers = export_network(network, options.stem, files, metadata, images)
    worth = int8_worth(options, options.format, network, spec) if options.int8 and spec else ()
    timed = options.format == "opencv"
    ms = pass_ms(open_file("opencv", made[0], network), images) if timed else None
    return Exported(made, agreement, len(images), worth, ms, integers)


def _export_espdl(
    options: ExportOptions, network: Network, spec: DataSpec, fit: Fit, images: Images
) -> Exported:
    """8 bits for a chip, which no command here runs: what is scored is its simulation."""
    spec.require("valid")
    _takes_ranges(options, network)  # it does not, which that says
    chip = options.chip or CHIPS[0]
    calibration = _calibration(options, spec, network, fit)
    metadata = onnx_metadata(network, spec.names, fit)
    order = Order(chip, calibration, metadata, options.python)

    def measure(simulated: Predict) -> Worth:
        return _worth(options, f"int8 (espdl for {chip}, simulated)", simulated, network, spec)

    agreement, worth = export_espdl(network, options.stem, order, images, measure)
    made = target_files(options.stem, "espdl")
    return Exported(made, agreement, len(images), worth, has_half=False)


def _takes_ranges(options: ExportOptions, network: Network) -> bool:
    """Whether the file takes the ranges of a finetuned network, which then is put on grids."""
    if not network.ranges:
        return False
    if options.format in FINETUNED:
        put_on_grids(network, network.ranges)
        return True
    logger.warning(
        "%s: --format %s takes no ranges (%s do): its values' are measured anew",
        options.inputs.weights, options.format, ", ".join(FINETUNED),
    )  # fmt: skip
    return False


def _calibration(options: ExportOptions, spec: DataSpec, network: Network, fit: Fit) -> Images:
    count, size = options.calibration_images, network.img_size
    return calibration_inputs(spec, count, size, fit, network.in_channels, options.seed)


def export_network(
    network: Network,
    stem: Path,
    options: FileOptions,
    metadata: Mapping[str, str],
    images: Images,
) -> tuple[Agreement, IntegerErrors | None]:
    """Put STEM's files of a loaded network in place, after running them on `images`.

    The second is of int8 ONNX files: what this processor makes of their integers.

    Raises UserError when the runtime's results differ from PyTorch's by more than the tolerance
    (int8 differs by nature: its worth is its mAP), or an int8 ONNX file's integers are computed as
    something else than its graph says, and leaves nothing then.
    """
    with scratch_folder(stem) as folder:
        made = folder / "model"
        write_files(network, made, options, metadata)
        agreement = check_files(network, made, options, images)
        limit = HALF_TOLERANCE if options.half else TOLERANCE
        wrong = agreement.difference > limit or (agreement.moved and not options.half)
        if wrong and not (options.calibration or options.trained):
            raise UserError(
                f"{stem}: not written, since the {options.kind} model differs from PyTorch "
                f"({agreement}; allowed: {limit:g})"
            )
        integers = None
        if options.kind == "onnx" and (options.calibration or options.trained):
            integers = _checked_integers(target_files(made, "onnx")[0], network, images)
        put_together(*(target_files(place, options.kind) for place in (made, stem)))
    return agreement, integers


@torch.no_grad()
def _checked_integers(path: Path, network: Network, images: Images) -> IntegerErrors:
    """What this processor makes of an int8 file. Raises UserError where that is too far off."""
    in_float = copy.deepcopy(network)
    take_off_grids(in_float)
    batch = as_batch(images)
    errors = integer_errors(path, batch, in_float.eval().fuse()(batch))
    if errors.share > MOST_BY_INTEGERS:
        raise UserError(
            f"{path.name}: not written, since ONNX Runtime on this processor computes something "
            f"else than the graph says ({errors}): take --half"
        )
    return errors


@torch.no_grad()
def checked_images(spec: DataSpec | None, network: Network, fit: Fit) -> Images:
    """The first few images of the validation list in which the network finds something.

    Where it finds nothing in the first dozens, the first few; without data, our own picture.
    """
    paths = [EXAMPLE]
    if spec is not None:
        entries = load_list(spec.valid or spec.require("train"))
        paths = [path for _, path in entries[:LOOKED_AT]]
    first: Images = ()
    for start in range(0, len(paths), CHECKED_IMAGES):
        some = paths[start : start + CHECKED_IMAGES]
        images = network_inputs(some, network.img_size, fit, network.in_channels)
        if images and finds_something(network.eval()(as_batch(images))):
            return images
        first = first or images
    return first


def int8_worth(
    options: ExportOptions, kind: Format | Pair, network: Network, spec: DataSpec
) -> Worth:
    """Metrics of the float32 model in PyTorch, and of the int8 files in their runtime."""
    made = target_files(options.stem, kind)
    quantized = open_file(kind, made[0], network)
    return _worth(options, f"int8 ({kind})", quantized, network, spec)


def _worth(
    options: ExportOptions, name: str, quantized: Predict, network: Network, spec: DataSpec
) -> Worth:
    """The same of what runs the int8 files, by its name."""
    how = Scoring(fit=options.fit, batch_size=8, workers=0)
    rounded = bool(network.grids)
    in_float = copy.deepcopy(network)
    take_off_grids(in_float)
    in_float.ranges = {}
    runs = [(f"{'its float weights' if rounded else 'float32'} (PyTorch)", torch_backend(in_float))]
    if rounded:
        runs.append(("int8 as finetuned (PyTorch)", torch_backend(network)))
    runs.append((name, quantized))
    return tuple((name, score(predict, spec, network, how)) for name, predict in runs)
