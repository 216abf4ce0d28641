"""Heads of two sets of branches, and of plain sides: which answer, and how, without NMS."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models import Darknet
from tests.support.checkpoints import like_v8 as theirs
from tests.support.checkpoints.like_v10 import LightDetect, around
from tests.support.translated import SIZE, assert_prunes, images, ours
from translate import main
from utils.cfg import load_cfg, with_note
from utils.cfg.head_note import HEAD_NOTE, dfl_note
from utils.command.errors import UserError
from utils.command.optional import missing
from utils.detection.as_the_cfg_says import chosen_nms
from utils.detection.nms import nms
from utils.detection.options import NmsKind
from utils.network.layers import Dfl
from utils.runtimes.export.options import ExportOptions, NmsOptions
from utils.runtimes.export.run import export_model
from utils.runtimes.onnx.best import as_predictions, contradictions
from utils.runtimes.onnx.run import OnnxNetwork
from utils.translate.blocks.writer import Answer
from utils.translate.translation import translate_checkpoint


def reference(reg_max: int = 1, one2one: bool = True) -> theirs.DetectionModel:
    head = partial(LightDetect, reg_max=reg_max, one2one=one2one)
    made = theirs.healthy(around(theirs.Bottleneck(16, 16, 16, True), width=16, head=head))
    assert isinstance(made, theirs.DetectionModel)
    return made


@torch.no_grad()
def wanted(model: theirs.DetectionModel, one2one: bool) -> list[torch.Tensor]:
    head = model.model[-1]
    found: list[torch.Tensor] = head.raw(model.head_inputs(images()), one2one)
    return found


@pytest.mark.parametrize("reg_max", [1, 16])
@pytest.mark.parametrize("answer", ["own", "one2many", "one2one"])
@torch.no_grad()
def test_each_set_of_branches(reg_max: int, answer: Answer, tmp_path: Path) -> None:
    model = reference(reg_max)
    found = translate_checkpoint(theirs.save(tmp_path / "a.pt", model), SIZE, answer)
    network = ours(found)
    one2one = answer == "one2one"
    assert [head.one2one for head in network.heads] == [one2one] * 3
    for a, b, c in zip(
        network.raw_heads(images()), wanted(model, one2one), wanted(model, not one2one), strict=True
    ):
        assert a.shape == (1, 4 * reg_max + 3, *a.shape[2:])
        assert (a - b).abs().max() < 1e-5 * b.abs().max()
        assert (a - c).abs().max() > 1e-2 * c.abs().max()


@torch.no_grad()
def test_a_fused_head_answers_with_what_it_has_left(tmp_path: Path) -> None:
    model = reference()
    fused = copy.deepcopy(model)
    fused.model[-1].cv2 = fused.model[-1].cv3 = None
    path = theirs.save(tmp_path / "a.pt", fused)
    network = ours(translate_checkpoint(path, SIZE))
    for a, b in zip(network.raw_heads(images()), wanted(model, True), strict=True):
        assert (a - b).abs().max() < 1e-5 * b.abs().max()
    with pytest.raises(UserError, match=r"no one2many branches, only one2one ones"):
        translate_checkpoint(path, SIZE, "one2many")


def test_flags(tmp_path: Path) -> None:
    weights = theirs.save(tmp_path / "a.pt", reference())
    flags = ["--weights", str(weights), "--img-size", "64", "96", "--bn-export", "native"]
    cfg = main([*flags, "--output", str(tmp_path / "a.cfg"), "--head", "one2one"])
    assert chosen_nms("cfg", load_cfg(cfg).layers[-1]).name == "none"
    cfg = main([*flags, "--output", str(tmp_path / "b.cfg")])
    assert chosen_nms("cfg", load_cfg(cfg).layers[-1]).name == "default"
    assert chosen_nms("none", load_cfg(cfg).layers[-1]).name == "none"
    with pytest.raises(UserError, match="plain numbers"):
        main([*flags, "--output", str(tmp_path / "c.cfg"), "--head", "yolo"])
    own = ["--cfg", str(cfg), "--weights", str(cfg.with_suffix(".weights"))]
    for asked in ("one2one", "both"):
        with pytest.raises(UserError, match=r"no such heads|one set of heads"):
            main([*own, "--output", str(tmp_path / "d.cfg"), "--head", asked])
    single = theirs.save(tmp_path / "e.pt", reference(one2one=False))
    with pytest.raises(UserError, match="no one2one branches"):
        main(["--weights", str(single), "--output", str(tmp_path / "e.cfg"), "--head", "one2one"])


@torch.no_grad()
def test_both_sets_and_either_of_them_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = reference()
    weights = theirs.save(tmp_path / "a.pt", model)
    flags = ["--img-size", "64", "96", "--bn-export", "native", "--output"]
    cfg = main(["--weights", str(weights), "--head", "both", *flags, str(tmp_path / "both.cfg")])
    assert "two sets of heads" in capsys.readouterr().out
    network = Darknet(cfg, weights=cfg.with_suffix(".weights")).eval()
    kinds = [(head.one2one, head.answers) for head in network.heads if isinstance(head, Dfl)]
    assert kinds == [(False, False)] * 3 + [(True, True)] * 3
    raw = network.raw_heads(images())
    for found, one2one in ((raw[:3], False), (raw[3:], True)):
        for a, b in zip(found, wanted(model, one2one), strict=True):
            assert (a - b).abs().max() < 1e-5 * b.abs().max()
    own = ["--cfg", str(cfg), "--weights", str(cfg.with_suffix(".weights")), *flags]
    sets = {"raw": raw[3:], "one2one": raw[3:], "one2many": raw[:3]}
    for head, kept in sets.items():
        path = main([*own, str(tmp_path / f"{head}.cfg"), "--head", head])
        assert "two sets of heads" not in capsys.readouterr().out
        single = Darknet(path, weights=path.with_suffix(".weights")).eval()
        for a, b in zip(single.raw_heads(images()), kept, strict=True):
            assert torch.equal(a, b)
        needs = "default" if head == "one2many" else "none"
        assert chosen_nms("cfg", load_cfg(path).layers[-1]).name == needs


def test_both_of_a_head_that_has_one(tmp_path: Path) -> None:
    single = theirs.save(tmp_path / "a.pt", reference(one2one=False))
    with pytest.raises(UserError, match="no one2one branches, only one2many"):
        translate_checkpoint(single, SIZE, "both")


def test_it_prunes(tmp_path: Path) -> None:
    assert_prunes(theirs.save(tmp_path / "a.pt", reference()))


@torch.no_grad()
def test_plain_sides_are_decoded_as_they_are(tmp_path: Path) -> None:
    """Left, top, right, bottom in cells from the cell's centre; also where they are negative."""
    network = ours(translate_checkpoint(theirs.save(tmp_path / "a.pt", reference()), SIZE))
    raw = network.raw_heads(images())[0]
    assert (raw[:, :4] < 0).any()
    boxes = network(images())[0]
    stride, columns = 2, raw.shape[3]
    for row, column in ((0, 0), (3, 5), (17, 40)):
        left, top, right, bottom = raw[0, :4, row, column].tolist()
        x1, y1 = (column + 0.5 - left) * stride, (row + 0.5 - top) * stride
        x2, y2 = (column + 0.5 + right) * stride, (row + 0.5 + bottom) * stride
        box = boxes[row * columns + column]
        expected = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, 1.0]
        assert box[:5].tolist() == pytest.approx(expected, abs=1e-3)
        assert box[5:].tolist() == pytest.approx(raw[0, 4:, row, column].sigmoid().tolist())


def test_without_nms_the_best_boxes_are_all_that_count() -> None:
    rows = torch.tensor([[10.0, 10, 8, 8, 1, s, s / 2] for s in (0.9, 0.8, 0.7)])[None]
    (found,) = nms(rows, 0.1, 0.5, kind=NmsKind("none"))
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.45, 0.4, 0.35])
    (found,) = nms(rows, 0.1, 0.5, max_det=2, kind=NmsKind("none"))
    assert found.scores.tolist() == pytest.approx([0.9, 0.8])
    (found,) = nms(rows, 0.1, 0.5)
    assert found.scores.tolist() == pytest.approx([0.9, 0.45])


def test_rows_that_are_not_the_best() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(20, 7, generator=generator)
    boxes[:, 4] = 1
    scores = boxes[:, 5:].flatten()
    values, places = scores.topk(8)
    low, high = boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2
    corners = torch.cat((low, high), 1)[places // 2]
    rows = torch.cat((corners, values[:, None], (places % 2)[:, None].float()), 1)
    assert contradictions(rows, boxes) == 0
    for column in (0, 4, 5):
        wrong = rows.clone()
        wrong[3, column] += 1
        assert contradictions(wrong, boxes) >= 1
    back = as_predictions(rows[None], 2)[0]
    assert torch.allclose(back[:, :4], boxes[places // 2, :4], atol=1e-6)
    assert torch.equal(back[:, 5:].amax(1), values)


@pytest.mark.skipif(bool(missing(("onnx", "onnxscript", "onnxruntime"))), reason="ONNX not there")
def test_an_exported_file_ends_with_its_best(tmp_path: Path) -> None:
    from utils.detection.options import Inputs

    model = reference()
    with torch.no_grad():
        for branch in model.model[-1].one2one_cv2:  # boxes with an area, as trained ones have
            branch[2].weight.mul_(0.05)
            branch[2].bias.add_(4)
    weights = theirs.save(tmp_path / "a.pt", model)
    cfg = main(["--weights", str(weights), "--output", str(tmp_path / "a.cfg"), "--head", "both",
                "--img-size", "64", "96", "--bn-export", "native"])  # fmt: skip
    inputs = Inputs(str(cfg), str(cfg.with_suffix(".weights")))
    made = export_model(ExportOptions(inputs), Darknet)
    assert made.agreement.difference < 1e-4 and made.agreement.moved == 0
    network = Darknet(cfg, weights=cfg.with_suffix(".weights")).eval()
    found = OnnxNetwork(made.files[0])(images())
    assert found.shape == (1, 300, 8)
    opencv = cv2.dnn.readNetFromONNX(str(made.files[0]))
    opencv.setInput(images().numpy())
    again = as_predictions(torch.from_numpy(np.array(opencv.forward())), 3)
    assert torch.allclose(again.sum(1), found.sum(1), rtol=1e-4)  # of equal scores either is first
    (theirs_rows,) = nms(found, 0.001, 0.5, kind=NmsKind("none"))
    (own,) = nms(network(images()).detach(), 0.001, 0.5, kind=NmsKind("none"))
    assert np.allclose(theirs_rows.scores, own.scores, atol=1e-5)
    with pytest.raises(UserError, match="needs none"):
        export_model(ExportOptions(inputs, nms=NmsOptions(), force=True), Darknet)


@torch.no_grad()
def test_the_reference_end_to_end(shared: Path) -> None:
    vectors = np.load(shared / "ultra" / "v10_small_nc4.npz")
    found = translate_checkpoint(shared / "ultra" / "v10_small_nc4.pt", (256, 320), "one2one")
    x = torch.from_numpy(vectors["input"].transpose(2, 0, 1) / np.float32(255))[None]
    (rows,) = nms(ours(found)(x), 0.0, 0.5, max_det=300, kind=NmsKind("none"))
    wanted_rows = vectors["decoded_end2end"]
    assert np.abs(rows.scores - wanted_rows[:, 4]).max() < 1e-5
    assert np.abs(rows.boxes_xyxy_px - wanted_rows[:, :4]).max() < 1e-2
    assert (rows.classes == wanted_rows[:, 5]).all()


def test_a_note_of_something_else_than_a_bool() -> None:
    note = {**dfl_note(0, 1, 8, 1, 3), "one2one": "yes"}
    cfg = load_cfg(Path(__file__).parents[2] / "cfg" / "yolov8n.cfg")
    assert chosen_nms("cfg", with_note(cfg.layers[-1], HEAD_NOTE, note)).name == "default"
