"""Translation: what the cfg computes is what the checkpoint's modules compute."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models import Darknet
from tests.support.checkpoints import like_v8 as theirs
from tests.support.checkpoints.like_v7 import Detect
from tests.support.nets import conv, head, healthy, net
from tests.support.translated import SIZE, images, largest_difference, opencv_raw, ours
from translate import main
from utils.cfg import load_cfg, plain_text, read_note
from utils.cfg.strict import strict_cfg
from utils.command.errors import UserError
from utils.translate.guard import guarded, lowest_by_statistics, lowest_swish_inputs
from utils.translate.options import DANGER
from utils.translate.translation import translate_checkpoint


@pytest.mark.parametrize("name", ["yolov8n_random_nc3", "yolov8n_coco_recovered"])
@torch.no_grad()
def test_real_checkpoints(name: str, shared: Path) -> None:
    vectors = np.load(shared / "yolov8" / f"{name}.npz")
    found = translate_checkpoint(shared / "yolov8" / f"{name}.pt", (256, 320))
    model = ours(found)
    x = torch.from_numpy(vectors["input"].transpose(2, 0, 1) / np.float32(255))[None]
    for level, raw in enumerate(model.raw_heads(x)):
        wanted = torch.from_numpy(vectors[f"raw_{level}"]).view(raw.shape)
        # A share of the level's maximum, as everywhere: processors add in different orders.
        assert (raw - wanted).abs().max() < 2e-5 * wanted.abs().max()
        assert (raw.roll(1, 3) - wanted).abs().max() > 1e-2
    boxes, wanted = model(x)[0], torch.from_numpy(vectors["decoded"]).T
    assert (boxes[:, :4] - wanted[:, :4]).abs().max() < 1e-2
    assert (boxes[:, 5:] - wanted[:, 4:]).abs().max() < 1e-4
    assert (boxes[:, 4] == 1).all()
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == int(vectors["n_params"]) - 16  # the fixed kernel of their decoding


@pytest.mark.parametrize("size", ["n", "s", "m", "l", "x"])
def test_every_size(size: str, tmp_path: Path) -> None:
    """At a fraction of the width: depth and wiring are those of the size."""
    reference = theirs.yolov8(size, width=0.03)
    theirs.healthy(reference)
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", reference), SIZE)
    assert largest_difference(found, reference) < 1e-5
    assert found.names == ("thing 0", "thing 1", "thing 2")


def test_ema_half_precision_and_wrapping(tmp_path: Path) -> None:
    """`ema` is preferred to `model`; fp16 is read as it is; a wrapped model is unwrapped."""
    reference = theirs.yolov8(width=0.03)
    theirs.healthy(reference)
    other = theirs.healthy(copy.deepcopy(reference), seed=1)
    half = copy.deepcopy(reference).half()
    path = theirs.save(tmp_path / "a.pt", other, ema=half)
    found = translate_checkpoint(path, SIZE)
    assert largest_difference(found, half) < 1e-5
    assert largest_difference(found, reference) > 1e-4
    wrapped = translate_checkpoint(theirs.save(tmp_path / "b.pt", nn.DataParallel(half)), SIZE)
    assert all(torch.equal(wrapped.state[key], found.state[key]) for key in found.state)


def test_uneven_halves_and_c3_and_other_activations(tmp_path: Path) -> None:
    """What pruners leave, YOLOv5u's block, and activations that Darknet has names for."""
    blocks = theirs.yolov8(width=0.03).model
    parts = [(block, block.f) for block in blocks]
    parts[2] = (theirs.C2f(8, 8, 2, True, halves=(5, 3)), -1)
    parts[4] = (theirs.C3(8, 8, 2, True), -1)
    parts[3] = (theirs.Conv(8, 8, 3, 2, act=nn.LeakyReLU(0.1)), -1)
    parts[5] = (theirs.Conv(8, 16, 3, 2, act=nn.ReLU()), -1)
    reference = theirs.DetectionModel(parts)
    theirs.healthy(reference)
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", reference), SIZE)
    assert largest_difference(found, reference) < 1e-5
    filters = [s.integer("filters") for s in found.cfg.layers if s.kind == "convolutional"]
    assert filters[2:4] == [5, 3]
    assert found.names == ("class0", "class1", "class2")


def test_fused_checkpoint(tmp_path: Path) -> None:
    reference = theirs.yolov8(width=0.03)
    theirs.healthy(reference)
    fused = copy.deepcopy(reference)
    for module in fused.modules():
        if isinstance(module, theirs.Conv):
            module.conv = nn.utils.fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity()
    for module in fused.modules():
        if isinstance(module, theirs.Conv):
            del module.bn
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", fused), SIZE)
    assert largest_difference(found, reference) < 1e-5


@pytest.mark.parametrize(
    ("export", "limit"), [("pow2", 5e-4), ("fused", 5e-4), ("native", 1.0), ("guard", 5e-4)]
)
@torch.no_grad()
def test_opencv_runs_the_export(export: str, limit: float, shared: Path, tmp_path: Path) -> None:
    vectors = np.load(shared / "yolov8" / "yolov8n_coco_recovered.npz")
    weights = str(shared / "yolov8" / "yolov8n_coco_recovered.pt")
    flags = ["--guard"] if export == "guard" else ["--bn-export", export]
    cfg = main(
        ["--weights", weights, "--output", str(tmp_path / "a.cfg"), "--img-size", "256", "320",
         *flags]
    )  # fmt: skip
    x = torch.from_numpy(vectors["input"].transpose(2, 0, 1) / np.float32(255))[None]
    found = opencv_raw(cfg, x)
    model = Darknet(cfg).load_weights(cfg.with_suffix(".weights")).eval()
    worst = mine = 0.0
    for level, (out, raw) in enumerate(zip(found, model.raw_heads(x), strict=True)):
        wanted = torch.from_numpy(vectors[f"raw_{level}"]).view(raw.shape)
        worst = max(worst, float((out - wanted).abs().max()))
        mine = max(mine, float((raw - wanted).abs().max()))
    assert worst < limit
    assert mine < 4e-4
    if export == "native":  # the reason for the other two
        assert worst > 1e-2
    names = cfg.with_suffix(".names").read_text().splitlines()
    assert len(names) == 80 and names[0] == "person"
    assert read_note(model.cfg.net, "names") == names


def test_the_depth_of_a_swish_is_12_deviations_below_its_mean() -> None:
    """On photographs the deepest values lie that far out; a negative gamma counts like another."""
    model = healthy(net(conv(4, activation="swish"), conv(4, activation="leaky"), head()))
    state = {
        **model.state_dict(),
        "layers.0.bn.weight": torch.tensor([1.0, -5.0, 2.0, 0.0]),
        "layers.0.bn.bias": torch.tensor([0.0, 3.0, 0.0, -40.0]),
    }
    assert lowest_by_statistics(model.rules, state) == {0: 3 - 12 * 5}  # layer 1 is no swish


@torch.no_grad()
def test_guard_saves_a_swish_without_changing_it(tmp_path: Path) -> None:
    """Where the deepest channel stands 150 below zero, the guarded value is the same, and safe."""
    reference = theirs.yolov8(width=0.03)
    theirs.healthy(reference)
    deep = reference.model[1]
    assert isinstance(deep, theirs.Conv)
    deep.bn.bias[0] = -150
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", reference), SIZE)
    model = ours(found)
    lowest = lowest_swish_inputs(model.rules, list(model.layers), images())
    assert [index for index, value in lowest.items() if value < DANGER] == [1]
    assert lowest_by_statistics(model.rules, found.state)[1] < DANGER
    cfg, state = guarded(found.cfg, found.state, [1])
    twin = Darknet(cfg).eval()
    twin.load_state(state)
    assert len(twin.rules) == len(model.rules) + 1
    after = lowest_swish_inputs(twin.rules, list(twin.layers), images())
    assert min(after.values()) >= -80.0
    for a, b in zip(model.raw_heads(images()), twin.raw_heads(images()), strict=True):
        assert (a - b).abs().max() < 2e-5 * a.abs().max()


@torch.no_grad()
def test_yolo_heads_give_the_same_boxes(tmp_path: Path) -> None:
    reference = theirs.yolov8(width=0.03)
    theirs.healthy(reference)
    path = theirs.save(tmp_path / "a.pt", reference)
    size = ["--img-size", "64", "96"]
    raw = main(["--weights", str(path), "--output", str(tmp_path / "raw.cfg"), *size])
    yolo = main(
        ["--weights", str(path), "--output", str(tmp_path / "yolo.cfg"), "--head", "yolo", *size]
    )
    models = [Darknet(cfg).load_weights(cfg.with_suffix(".weights")).eval() for cfg in (raw, yolo)]
    assert [head.kind for head in models[1].heads] == ["yolo"] * 3
    wanted, found = (model(images()) for model in models)
    assert (wanted[..., :4] - found[..., :4]).abs().max() < 1e-2
    assert (wanted[..., 4:] - found[..., 4:]).abs().max() < 1e-4
    by_hand = theirs.decoded(reference.raw(images()), (8, 16, 32), 3)
    assert (wanted[..., :4] - by_hand[..., :4]).abs().max() < 1e-3
    assert (wanted[..., 5:] - by_hand[..., 4:]).abs().max() < 1e-5


@torch.no_grad()
def test_for_the_classes_of_a_data_set(tmp_path: Path) -> None:
    """All but the last convolution of the classes stays; those of the boxes give the same."""
    reference = theirs.yolov8(width=0.03)
    theirs.healthy(reference)
    path = theirs.save(tmp_path / "a.pt", reference)
    (tmp_path / "my.names").write_text("cat\ndog\n")
    (tmp_path / "my.data").write_text("classes=2\nnames=my.names\n")
    cfg = main(
        ["--weights", str(path), "--output", str(tmp_path / "my.cfg"), "--bn-export", "native",
         "--data", str(tmp_path / "my.data"), "--img-size", "64", "96"]
    )  # fmt: skip
    model = Darknet(cfg).load_weights(cfg.with_suffix(".weights")).eval()
    assert model.nc == 2
    assert (tmp_path / "my.names").read_text() == "cat\ndog\n"
    assert read_note(model.cfg.net, "names") == ["cat", "dog"]
    for raw, wanted in zip(model.raw_heads(images()), reference.raw(images()), strict=True):
        assert raw.shape[1] == 66
        assert (raw[:, :64] - wanted[:, :64]).abs().max() < 1e-4


def test_our_own_model_is_exported_for_a_runtime(tmp_path: Path) -> None:
    """--cfg: what was trained or pruned here, as pow2, gives the same here."""
    reference = theirs.yolov8(width=0.03)
    theirs.healthy(reference)
    path = theirs.save(tmp_path / "a.pt", reference)
    native = main(
        ["--weights", str(path), "--output", str(tmp_path / "n.cfg"), "--bn-export", "native",
         "--img-size", "64", "96"]
    )  # fmt: skip
    native.write_text(native.read_text().replace("[net]", "[net]\nmax_crop=500"))
    exported = main(
        ["--cfg", str(native), "--weights", str(native.with_suffix(".weights")),
         "--output", str(tmp_path / "e.cfg"), "--strict-darknet"]
    )  # fmt: skip
    text = exported.read_text()
    assert "max_crop" not in text
    assert plain_text(strict_cfg(load_cfg(exported))) == text
    assert read_note(load_cfg(exported).net, "names") == ["thing 0", "thing 1", "thing 2"]
    assert (
        native.with_suffix(".weights").read_bytes() != exported.with_suffix(".weights").read_bytes()
    )
    for a, b in zip(opencv_raw(exported, images()), reference.raw(images()), strict=True):
        assert (a - b).abs().max() < 1e-4
    assert exported.with_suffix(".names").read_text().startswith("thing 0\n")


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = theirs.save(tmp_path / "a.pt", theirs.healthy(theirs.yolov8(width=0.03)))
    (tmp_path / "a.weights").write_text("mine")
    arguments = ["--weights", str(path), "--output", str(tmp_path / "a.cfg"), "--img-size", "64"]
    with pytest.raises(UserError, match="--force"):
        main(arguments)
    assert not (tmp_path / "a.cfg").exists()
    main([*arguments, "--force"])
    assert (tmp_path / "a.weights").read_bytes() != b"mine"


@pytest.mark.slow
def test_largest_size_takes_three_seconds(tmp_path: Path) -> None:
    """Of the processor's time, files included; imports are not counted."""
    path = theirs.save(tmp_path / "x.pt", theirs.healthy(theirs.yolov8("x", nc=80)).half())
    start = time.process_time()
    main(["--weights", str(path), "--output", str(tmp_path / "x.cfg")])
    assert time.process_time() - start < 3


@torch.no_grad()
def test_anchor_heads_of_yolov5(tmp_path: Path) -> None:
    blocks = [(block, block.f) for block in theirs.yolov8(width=0.03).model]
    channels = tuple(branch[0].conv.in_channels for branch in blocks[-1][0].cv2)
    head = Detect(2, channels)
    blocks[-1] = (head, [15, 18, 21])
    reference = theirs.DetectionModel(blocks)
    theirs.healthy(reference)
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", reference), SIZE)
    wanted = head.boxes(reference.head_inputs(images()))
    boxes = ours(found)(images())
    assert [layer.kind for layer in ours(found).heads] == ["yolo"] * 3
    assert torch.allclose(boxes, wanted, atol=1e-2, rtol=1e-4)
