"""The work of translate.py: read a model, change it as asked, write it."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from ..cfg import Cfg, load_cfg, read_note
from ..cfg.strict import strict_cfg
from ..command.errors import UserError
from ..command.files import alone, settle
from ..data.darknet_files import load_data_file
from ..data.images import read_image
from ..network.cost import count_parameters
from ..network.darknet import Build
from ..network.for_data.retarget import heads_of, with_img_size
from ..network.importers import ONNX_WAY, require_darknet
from ..network.layers import build_layers, input_shape
from ..network.two_sets import two_sets_line
from ..network.weights import state_at
from .blocks.writer import NAMES_NOTE, Answer, Translated
from .bn_export import for_export
from .chosen_set import chosen_set
from .for_classes import for_classes
from .guard import guarded, lowest_by_statistics, lowest_swish_inputs, sample_images
from .options import DANGER, TranslateOptions, named_paths, output_paths
from .output import write_all
from .translation import translate_checkpoint
from .yolo_head import with_yolo_heads

DEFAULT_SIDE_PX = 640
SAMPLE_SIDE_PX = 128  # deep values hardly depend on the size, the time does

logger = logging.getLogger("translate")


def write_translated(options: TranslateOptions, build: Build) -> Path:
    """Write cfg, weights and names, and say what they are; returns the path of the cfg.

    Raises UserError for files that are not what they should be, or are there already.
    """
    outputs = named_paths(options.output, not options.data)
    paths = [path for path in outputs if path is not None]
    with alone(*paths):
        settle(*paths)
        return _write_translated(options, build)


def _write_translated(options: TranslateOptions, build: Build) -> Path:
    """As `write_translated`, with the outputs kept for it."""
    outputs = output_paths(options.output, not options.data, options.force)
    found = _read(options, build)
    if options.data:
        spec = load_data_file(options.data)
        found = for_classes(found, spec.names or [str(k) for k in range(spec.nc)])
    cfg, state = found.cfg, found.state
    deep = deep_layers(found, options.samples, build)
    if options.guard:
        cfg, state = guarded(cfg, state, deep)
    elif deep and not any(layer.only_by_onnx for layer in build_layers(cfg)):
        logger.warning(
            "%d layers may give their swish values below %g (lowest: %.0f): builds of Darknet "
            "with -Ofast, AlexeyAB's default, may answer NaN; --guard cures it, -O3 and other "
            "runtimes do not need it", len(deep), DANGER, min(deep.values()),
        )  # fmt: skip
    if options.head == "yolo":
        require_darknet(build_layers(cfg))
        cfg, state = with_yolo_heads(cfg, state)
    cfg, numbers = for_export(cfg, state, options.bn_export)
    if options.strict_darknet:
        cfg = strict_cfg(cfg)
    written = write_all(cfg, numbers, found.names, outputs)
    print(_summary(cfg, options, len(deep) if options.guard else 0))
    print("\n".join(f"Wrote {path}" for path in written))
    return outputs.cfg


def _read(options: TranslateOptions, build: Build) -> Translated:
    """A checkpoint of ultralytics, translated; with a cfg, a model of this program."""
    size = options.img_size
    chosen: Answer = "own"
    if options.head in ("one2many", "one2one", "both"):
        chosen = options.head
    if not options.cfg:
        both = size or (DEFAULT_SIDE_PX, DEFAULT_SIDE_PX)
        theirs = translate_checkpoint(options.weights, both, chosen)
        return Translated(_checked_size(theirs.cfg, size), theirs.state, theirs.names)
    cfg = _checked_size(load_cfg(options.cfg), size)
    network = build(cfg, weights=options.weights)
    cfg, places = chosen_set(cfg, chosen)
    state = state_at(network.state_dict(), places)
    names = read_note(cfg.net, NAMES_NOTE)
    known = isinstance(names, list) and len(names) == network.nc
    texts = tuple(str(name) for name in names) if known else tuple(map(str, range(network.nc)))
    return Translated(cfg, state, texts)


def _checked_size(cfg: Cfg, size: tuple[int, int] | None) -> Cfg:
    """The cfg at another input size. Raises UserError for one that the strides do not divide."""
    return cfg if size is None else with_img_size(cfg, size)


@torch.no_grad()
def deep_layers(found: Translated, samples: tuple[str, ...], build: Build) -> dict[int, float]:
    """Layer -> the lowest value before its swish, where that is below the danger line.

    `samples` are images to run it on; without any, drawn ones.
    """
    if not any(section.text("activation") == "swish" for section in found.cfg.layers):
        return {}
    network = build(found.cfg, weights=found.state, lent=True).eval()
    side = -(-SAMPLE_SIDE_PX // network.stride) * network.stride
    images = [_load_sample(path, side) for path in samples] or [sample_images(side, side)]
    lowest = lowest_by_statistics(network.rules, found.state)
    for batch in images:
        for index, value in lowest_swish_inputs(network.rules, list(network.layers), batch).items():
            lowest[index] = min(value, lowest.get(index, 0.0))
    return {index: value for index, value in lowest.items() if value < DANGER}


def _load_sample(path: str, side: int) -> Tensor:
    """(1, 3, side, side) in 0..1. Raises UserError for a file that is no image."""
    try:
        pixels = read_image(Path(path))
    except (OSError, ValueError) as error:
        raise UserError(f"--samples {path}: {error}") from None
    picture = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    return torch.nn.functional.interpolate(picture, (side, side), mode="bilinear", antialias=True)


def _summary(cfg: Cfg, options: TranslateOptions, guards: int) -> str:
    """What was written, and what it is for."""
    layers = build_layers(cfg)
    height, width = input_shape(cfg)[1:]
    lines = [
        f"{len(layers)} layers, {count_parameters(layers):,} parameters, "
        f"{heads_of(cfg)[-1].nc} classes, {width}x{height}"
        + (f", {guards} guards" if guards else "")
    ]
    if options.bn_export != "native":
        lines.append(
            f"batch normalisation: {options.bn_export}, for runtimes; translate with "
            "--bn-export native what is to be trained or pruned"
        )
    lines += list(filter(None, [two_sets_line(layers)]))
    lines += sorted({f"{layer.only_by_onnx}: {ONNX_WAY}" for layer in layers if layer.only_by_onnx})
    return "\n".join(lines)
