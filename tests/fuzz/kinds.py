"""Everything that is read: its right files, how they are read, and what then must hold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import yaml
from hypothesis import strategies as st

import slim_prune
from models import Darknet
from tests.fuzz import corpus, exported
from tests.fuzz.structure import VALUES, odd_tensors, variants
from tests.support.random_cfgs import cfgs
from utils.annotations.coco import read_coco
from utils.annotations.collected import Collected
from utils.annotations.forms import reader_for
from utils.annotations.ultralytics import read_ultralytics
from utils.annotations.voc import read_voc
from utils.annotations.write import write_darknet
from utils.annotations.yolo_folder import read_darknet, read_yolo_folder
from utils.cfg import format_cfg, load_cfg, parse_cfg, plain_text
from utils.chains.journal import Journal
from utils.data.darknet_files import load_data_file, load_names
from utils.data.images import UnreadableImageError, image_size, read_image
from utils.data.samples import load_samples
from utils.describe.network import describe_network
from utils.detection.sources import find_sources
from utils.network.cfg_of import read_cfg
from utils.network.channel_links import read_links
from utils.network.cost import count_macs, count_parameters
from utils.network.graph import channel_graph
from utils.network.layers import build_layers
from utils.network.layers.region import read_tree
from utils.network.saved_masks import masks_in
from utils.network.weights import best_conf_in, load_checkpoint, names_in, require_usable
from utils.pruning.goals import table_file
from utils.pruning.goals.table_file import read_table_file
from utils.pruning.sensitivity import file as sensitivity_file
from utils.pruning.sensitivity.file import read_sensitivity
from utils.pruning.widths import file as width_file
from utils.pruning.widths.file import read_widths
from utils.runtimes.onnx.metadata import stated_names
from utils.training.cfg_recipe import recipe
from utils.training.checkpoint import load_for_resume
from utils.training.flags import make_parser
from utils.training.hyp import hyp_flags
from utils.training.run_folder import started_from
from utils.translate.translation import translate_checkpoint

_SMALL = 1_000_000  # parameters of networks that are built as well


@dataclass(frozen=True)
class Kind:
    """`write` makes right files in a folder, `read` reads them; of `files`, one is changed.

    tree: values of the right form and the wrong kind, and how they are written.
    """

    write: Callable[[Path], object]
    read: Callable[[Path], object]
    files: tuple[str, ...]
    tree: Callable[[], st.SearchStrategy[Any]] | None = None
    dump: Callable[[Any, Path], object] | None = None


def _json(value: Any, path: Path) -> None:
    path.write_text(json.dumps(value))


def _yaml(value: Any, path: Path) -> None:
    path.write_text(yaml.safe_dump(value), "utf-8", "replace")


def _cfg(folder: Path) -> None:
    cfg = load_cfg(folder / "net.cfg")
    recipe(cfg, {"batch_size": 1}, ())
    layers = build_layers(cfg)
    channel_graph(layers)
    count_macs(layers)
    plain_text(cfg)
    describe_network(cfg, {"slim_prune": slim_prune.STRATEGY})
    if count_parameters(layers) < _SMALL:
        Darknet(cfg)


def _weights(folder: Path) -> None:
    model = Darknet(folder / "net.cfg", weights=folder / "net.weights")
    require_usable(model.state_dict(), "net.weights")


def _checkpoint(folder: Path) -> None:
    path = folder / "last.pt"
    content = load_checkpoint(path)
    names_in(content)
    best_conf_in(content)
    masks_in(content, path)
    cfg = read_cfg(path)
    if count_parameters(build_layers(cfg)) < _SMALL:
        require_usable(Darknet(cfg, weights=path).state_dict(), "last.pt")
    load_for_resume(path)


def _data(folder: Path) -> None:
    spec = load_data_file(folder / "my.data")
    if len(spec.names) != spec.nc:
        raise AssertionError("names are not as many as classes")
    for which in ("train", "valid"):
        samples, _ = load_samples(spec.require(which), spec.nc)
        if any(not 0 <= row[0] < spec.nc for sample in samples for row in sample.labels):
            raise AssertionError("a label of no class")
    find_sources(str(folder / "list.txt"))


def _converted(folder: Path, collected: Collected) -> None:
    """Written and read again, each class has its name and each image its boxes."""
    collected.require_images(folder)
    data = write_darknet(collected, folder / "out" / "set", link=True)
    spec = load_data_file(data)
    if spec.nc != len(collected.names) or len(load_names(data.with_suffix(".names"))) != spec.nc:
        raise AssertionError("classes are lost on the way")
    for split, which in (("train", spec.train), ("valid", spec.valid)):
        if collected.splits[split] and which is not None:
            samples, problems = load_samples(which, spec.nc)
            wanted = [len(item.rows) for item in collected.splits[split]]
            if problems or [len(sample.labels) for sample in samples] != wanted:
                raise AssertionError(f"boxes are lost on the way: {problems[:2]}")


def _images(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        try:
            size = image_size(path)
            for channels in (3, 1, 4):
                if read_image(path, channels=channels).shape[:2] != size:
                    raise AssertionError(f"{path.name}: another size than its header says")
        except UnreadableImageError:
            pass


def _journal(folder: Path) -> None:
    content = Journal.load(folder / "chain", "--resume", "fuzz").content
    if content["args"] != {"a": 1}:
        raise AssertionError("a changed journal passes")


def _start_journal(folder: Path) -> None:
    Journal.start(folder / "chain", "--output", "fuzz", {"a": 1}, rows=[{"b": 0.5}])


def _metadata(folder: Path) -> None:
    stated_names((folder / "names.json").read_bytes().decode("utf-8", "replace"))


def _drawn_cfg(value: Any, path: Path) -> None:
    path.write_text(format_cfg(value))


def _hyp(folder: Path) -> None:
    hyp_flags(str(folder / "hyp.yaml"), make_parser(None, ("prune", "slim_prune")))


def _start_hyp(folder: Path) -> None:
    shutil.copyfile(Path(__file__).parents[2] / "data" / "hyp" / "sparse.yaml", folder / "hyp.yaml")


def _plan(folder: Path) -> None:
    layers = build_layers(parse_cfg(corpus.CFG))
    read_links(folder / "p.plan.json", layers, layers)


def _args(folder: Path) -> None:
    started_from(folder / "last.pt")


_ARGS = {"sparsity_regularization": True, "weights": "last.pt", "epochs": 3}
_HYP = {"lr0": 0.01, "epochs": 3, "mosaic": 0.5, "img_size": [64, 64], "optimizer": "sgd"}

KINDS: dict[str, Kind] = {
    "cfg": Kind(corpus.write_network, _cfg, ("net.cfg",), cfgs, _drawn_cfg),
    "weights": Kind(corpus.write_network, _weights, ("net.weights", "net.cfg")),
    "pt": Kind(
        corpus.write_checkpoint, _checkpoint, ("last.pt",),
        lambda: variants(corpus.checkpoint(), odd_tensors()), torch.save,
    ),
    "foreign": Kind(
        corpus.write_foreign,
        lambda folder: translate_checkpoint(folder / "theirs.pt", (64, 64)), ("theirs.pt",),
    ),
    "data": Kind(
        corpus.write_set, _data,
        ("my.data", "my.names", "list.txt", "labels/1.txt", "labels/2.txt", "images/1.png"),
    ),
    "yolo-folder": Kind(
        corpus.write_set, lambda f: _converted(f, read_yolo_folder(f, None)),
        ("my.names", "labels/1.txt", "labels/2.txt", "images/1.png"),
    ),
    "darknet": Kind(
        corpus.write_set, lambda f: _converted(f, read_darknet(f, None)),
        ("my.data", "my.names", "list.txt", "labels/2.txt"),
    ),
    "yaml": Kind(
        corpus.write_set, lambda f: _converted(f, read_ultralytics(f / "data.yaml", None)),
        ("data.yaml", "labels/2.txt"), lambda: variants(corpus.data_yaml()), _yaml,
    ),
    "coco": Kind(
        corpus.write_coco, lambda f: _converted(f, read_coco(f, None)),
        ("instances_train.json",), lambda: variants(corpus.coco()), _json,
    ),
    "voc": Kind(
        corpus.write_voc, lambda f: _converted(f, read_voc(f, None)),
        ("0.xml", "1.xml", "ImageSets/Main/train.txt"),
    ),
    "auto": Kind(
        corpus.write_coco, lambda f: _converted(f, reader_for(f)[1](f, None)),
        ("instances_train.json", "images/0.png"),
    ),
    "images": Kind(
        corpus.write_images, _images,
        ("a.png", "a.jpg", "a.bmp", "a.ppm", "a.tif", "a.webp", "a.jp2", "a.pgm", "deep.png"),
    ),
    "plan": Kind(
        lambda f: _json(corpus.plan(), f / "p.plan.json"), _plan, ("p.plan.json",),
        lambda: variants(corpus.plan()), _json,
    ),
    "sensitivity": Kind(
        corpus.write_sensitivity_file, lambda f: read_sensitivity(f / "s.json"), ("s.json",),
        lambda: variants(_plain(corpus.SENSITIVITY, sensitivity_file)), _json,
    ),
    "hyp": Kind(_start_hyp, _hyp, ("hyp.yaml",), lambda: variants(_HYP), _yaml),
    "journal": Kind(
        _start_journal, _journal, ("chain/state.json",),
        lambda: variants({"format": 2, "command": "fuzz", "args": {"a": 1}, "runs": {}}), _json,
    ),
    "args": Kind(
        lambda f: _json(_ARGS, f / "args.json"), _args, ("args.json",),
        lambda: variants(_ARGS), _json,
    ),
    "onnx-names": Kind(
        lambda f: _json(["cat", "dog"], f / "names.json"), _metadata, ("names.json",),
        lambda: VALUES, _json,
    ),
    "onnx": Kind(
        exported.write_told, exported.read_onnx, ("told.json",),
        lambda: variants(exported.TOLD), _json,
    ),
    "program": Kind(
        exported.write_program, exported.read_program, ("program",),
        exported.programs, exported.write_program_bytes,
    ),
    "videos": Kind(exported.write_videos, exported.read_videos, ("a.avi", "a.mp4")),
    "widths": Kind(
        corpus.write_widths_file, lambda f: read_widths(f / "w.json"), ("w.json",),
        lambda: variants(_plain(corpus.WIDTHS, width_file)), _json,
    ),
    "times": Kind(
        corpus.write_times, lambda f: read_table_file(f / "t.json"), ("t.json",),
        lambda: variants(_plain(corpus.TIMES, table_file)), _json,
    ),
    "tree": Kind(corpus.write_tree, lambda f: read_tree(f / "a.tree"), ("a.tree",)),
    "cfg-notes": Kind(corpus.write_noted, _cfg, ("net.cfg",)),
    "auto-voc": Kind(
        corpus.write_voc, lambda f: _converted(f, reader_for(f)[1](f, None)),
        ("0.xml", "1.xml", "2.xml"),
    ),
}  # fmt: skip
if exported.HAS_SCIPY:
    KINDS["hands"] = Kind(exported.write_hands, exported.read_hands, exported.HANDS)


def _plain(value: Any, room: ModuleType) -> Any:
    """A dataclass as its file has it."""
    return json.loads(json.dumps({"format": room.FORMAT, "version": room.VERSION, **asdict(value)}))
