"""Whole models, as they are and pruned, in every runtime: the same numbers, the same detections."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import slim_prune
import translate
from models import Darknet
from tests.support.nets import healthy_state
from tests.support.prune_case import prune_by_flags
from utils.command.optional import NEEDS, missing
from utils.network.batch_norm.statistics import recalibrate_
from utils.runtimes.agreement import compare_outputs
from utils.runtimes.choose import open_backend
from utils.runtimes.real_images import as_batch, network_inputs

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SIDE = 256  # small, so that the large ones end in time
RUNTIMES = ("opencv", "onnx", "openvino", "ncnn", "mnn", "litert")
MODELS = ("yolov3-tiny", "yolov4-tiny", "yolov3-spp", "yolov4", "yolo-fastest-1.1", "yolov8n")
TRAINED = ("yolo-fastest-1.1", "yolov8n")


def model_files(
    name: str, root: Path, shared: Path, folder: Path, pruned: bool
) -> tuple[Path, Path]:
    """cfg and .weights: trained ones where there are any, else random ones whose signal lives."""
    cfg, weights = folder / f"{name}.cfg", folder / f"{name}.weights"
    if name.startswith("yolo-fastest"):
        for path in (cfg, weights):
            path.write_bytes((shared / "weights/yolo-fastest" / path.name).read_bytes())
    elif name == "yolov8n":
        checkpoint = str(shared / "yolov8/yolov8n_coco_recovered.pt")
        flags = ["--bn-export", "native"] if pruned else []  # scaled gammas rank nothing
        size = ["--img-size", str(SIDE)]
        translate.main(["--weights", checkpoint, "--output", str(cfg), *size, *flags])
    else:
        cfg.write_bytes((root / f"cfg/{name}.cfg").read_bytes())
        model = Darknet(cfg, img_size=(64, 64))
        model.load_state(healthy_state(model))
        model.save_weights(weights)
    return cfg, weights


def pruned_files(name: str, cfg: Path, weights: Path) -> tuple[Path, Path]:
    """A third of the channels less; of trained ones, which are not sparse, as few as they bear."""
    share = "0.02" if name in TRAINED else "0.3"
    flags = ["--cfg", cfg, "--weights", weights, "--global-percent", share, "--layer-keep", "0.1",
             "--img-size", "64", "--bn-epsilon", "any"]  # fmt: skip
    prune_by_flags(slim_prune.STRATEGY, [str(flag) for flag in flags])
    prefix = f"prune_{share}_keep_0.1_"
    return cfg.with_name(prefix + cfg.name), weights.with_name(prefix + weights.name)


def measure_statistics(cfg: Path, weights: Path, images: Tensor) -> None:
    """BN statistics of random weights for these images: other ones let deep networks overflow."""
    model = Darknet(cfg, img_size=(SIDE, SIDE), weights=weights)
    recalibrate_(model, [images])
    model.save_weights(weights)


def pictures(shared: Path, size: tuple[int, int]) -> Tensor:
    paths = sorted((shared / "datasets/coco-free/images").rglob("*.jpg"))[:2]
    return as_batch(network_inputs(paths, size, "stretch"))


@pytest.mark.parametrize("pruned", [False, True], ids=["whole", "pruned"])
@pytest.mark.parametrize("name", MODELS)
def test_same_numbers_and_detections(
    name: str, pruned: bool, root: Path, shared: Path, tmp_path: Path
) -> None:
    files = model_files(name, root, shared, tmp_path, pruned)
    if pruned:
        files = pruned_files(name, *files)
    size = (SIDE, SIDE)
    images = pictures(shared, size)
    if name not in TRAINED:
        measure_statistics(*files, images)
    with torch.no_grad():
        expected = Darknet(files[0], img_size=size, weights=files[1]).eval()(images)
        assert expected.isfinite().all()
        checkpoint = tmp_path / "a.pt"  # which open_backend makes fit for OpenCV's epsilon
        state = Darknet(files[0], weights=files[1]).state_dict()
        torch.save({"format": 1, "cfg": files[0].read_text(), "model": state}, checkpoint)
        for backend in RUNTIMES:
            if missing(NEEDS[backend]):
                continue
            predict = open_backend(backend, Darknet(files[0], img_size=size), checkpoint, CPU)
            found = compare_outputs(predict(images), expected)
            print(f"{name} {'pruned' if pruned else 'whole'} {backend}: {found}")
            assert found.difference < 1e-3, backend
            assert found.moved == 0, backend
        other = compare_outputs(expected.flip(0), expected)
        assert other.difference > 1e-2  # another image would be seen
