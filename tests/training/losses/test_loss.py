"""The loss and the assignment on cases small enough to work out by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models import Darknet
from utils.cfg import parse_cfg
from utils.detection.boxes import iou, xywh_to_xyxy
from utils.network.layers import Yolo
from utils.training.losses.assign import Grid, Matches, assign, reach_of
from utils.training.losses.box_loss import decode_px
from utils.training.losses.loss import DetectionLoss, total
from utils.training.losses.options import LossOptions

NC = 2
IMG_HW = (64, 64)
# Two heads of two anchors: cells of 32 px and of 16 px.
ANCHORS = "8,8, 16,16, 30,30, 60,60"


def make_heads(extra: str = "") -> tuple[Yolo, ...]:
    filters = 2 * (5 + NC)
    conv = "[convolutional]\nsize=1\nstride={}\nfilters={}\nactivation=linear\n"
    yolo = f"[yolo]\nmask={{}}\nanchors={ANCHORS}\nclasses={NC}\nnum=4\n{extra}\n"
    text = "[net]\nwidth=64\nheight=64\nchannels=3\n"
    text += conv.format(32, filters) + yolo.format("2,3")
    text += "[upsample]\nstride=2\n" + conv.format(1, filters) + yolo.format("0,1")
    model = Darknet(parse_cfg(text))
    return tuple(head for head in model.heads if isinstance(head, Yolo))


def zeros(batch: int = 1) -> list[Tensor]:
    channels = 2 * (5 + NC)
    return [torch.zeros(batch, channels, cells, cells, requires_grad=True) for cells in (2, 4)]


def targets(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)


def grids(reach: float = 0.0) -> list[Grid]:
    return [
        Grid(2, 2, torch.tensor([[30.0, 30], [60, 60]]), reach),
        Grid(4, 4, torch.tensor([[8.0, 8], [16, 16]]), reach),
    ]


def rows(match: Matches) -> list[tuple[int, ...]]:
    columns = (match.image, match.anchor, match.row, match.column, match.target)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


# -- assignment ----------------------------------------------------------------------------------


def test_anchors_above_the_threshold_and_the_best_one_match() -> None:
    # 16 x 16 px at (40, 8): IoU with the anchors 8, 16, 30, 60 is .25, 1, .284, .071.
    box = targets((0, 1, 40 / 64, 8 / 64, 0.25, 0.25))
    coarse, fine = assign(box, grids(), IMG_HW, iou_t=0.26)
    assert rows(coarse) == [(0, 0, 0, 1, 0)]
    assert rows(fine) == [(0, 1, 0, 2, 0)]
    coarse, fine = assign(box, grids(), IMG_HW, iou_t=0.2)
    assert rows(fine) == [(0, 0, 0, 2, 0), (0, 1, 0, 2, 0)]
    coarse, fine = assign(box, grids(), IMG_HW, iou_t=1.0)  # nothing is above: the best one alone
    assert rows(coarse) == []
    assert rows(fine) == [(0, 1, 0, 2, 0)]


def test_edges_of_the_picture_fall_into_the_last_cell() -> None:
    boxes = targets((0, 0, 1.0, 1.0, 0.25, 0.25), (2, 0, 0.0, 0.0, 0.25, 0.25))
    _, fine = assign(boxes, grids(), IMG_HW, iou_t=0.9)
    assert rows(fine) == [(0, 1, 3, 3, 0), (2, 1, 0, 0, 1)]


def test_neighbours_answer_only_as_far_as_a_head_reaches() -> None:
    # Centre (22, 24) px in the fine head: cell (1, 1) at .375, .5 of it.
    box = targets((0, 0, 22 / 64, 24 / 64, 0.25, 0.25))
    _, fine = assign(box, grids(reach_of(1.0)), IMG_HW, iou_t=0.9)
    assert rows(fine) == [(0, 1, 1, 1, 0)]
    _, fine = assign(box, grids(reach_of(1.5)), IMG_HW, iou_t=0.9)  # .25 is not enough for .375
    assert rows(fine) == [(0, 1, 1, 1, 0)]
    _, fine = assign(box, grids(reach_of(2.0)), IMG_HW, iou_t=0.9)
    assert rows(fine) == [(0, 1, 1, 0, 0), (0, 1, 1, 1, 0)]


def test_neighbours_stay_inside_the_picture() -> None:
    box = targets((0, 0, 0.01, 0.01, 0.25, 0.25))
    _, fine = assign(box, grids(0.5), IMG_HW, iou_t=0.9)
    assert rows(fine) == [(0, 1, 0, 0, 0)]


def test_no_targets_no_matches() -> None:
    for match in assign(targets(), grids(0.5), IMG_HW, iou_t=0.2):
        assert rows(match) == []


# -- the parts of the loss -----------------------------------------------------------------------


def test_values_of_an_untrained_network_by_hand() -> None:
    """All logits 0: every probability is .5, every box sits in its cell's middle, anchor-sized."""
    box = targets((0, 1, 40 / 64, 8 / 64, 0.25, 0.25))
    options = LossOptions(box=1, objectness=1, classes=1, iou_t=0.9, ignore_thresh=1)
    losses = DetectionLoss(make_heads(), options)(zeros(), box, IMG_HW)
    assert losses["box"].item() == pytest.approx(0, abs=1e-5)  # 16 x 16 in the middle of its cell
    assert losses["cls"].item() == pytest.approx(2 * math.log(2), rel=1e-5)
    cells = 2 * (2 * 2 + 4 * 4)
    assert losses["obj"].item() == pytest.approx(cells * math.log(2), rel=1e-5)
    assert total(losses).item() == pytest.approx(sum(v.item() for v in losses.values()), rel=1e-6)


def test_box_part_is_one_minus_the_chosen_iou() -> None:
    box = targets((0, 1, 38 / 64, 10 / 64, 0.2, 0.35))
    predicted = xywh_to_xyxy(torch.tensor([[40.0, 8, 16, 16]]))
    truth = xywh_to_xyxy(box[:, 2:] * 64)
    for kind in ("iou", "giou", "diou", "ciou"):
        options = LossOptions(box=3, box_loss=kind, iou_t=0.99)
        value = DetectionLoss(make_heads(), options)(zeros(), box, IMG_HW)["box"].item()
        assert value == pytest.approx(3 * (1 - iou(predicted, truth, kind).item()), rel=1e-5)


def test_perfect_prediction() -> None:
    box = targets((0, 1, 40 / 64, 8 / 64, 0.25, 0.25))
    raw = zeros()
    with torch.no_grad():
        for x in raw:
            x.view(1, 2, 7, *x.shape[2:])[:, :, 4] = -12
        best = raw[1].view(1, 2, 7, 4, 4)[0, 1, :, 0, 2]
        best[4:] = torch.tensor([12.0, -12, 12])
    loss = DetectionLoss(make_heads(), LossOptions(iou_t=0.9))
    assert total(loss(raw, box, IMG_HW)).item() < 1e-3
    with torch.no_grad():  # the same logits one cell further are far from perfect
        shifted = [raw[0], raw[1].roll(1, 3)]
    assert total(loss(shifted, box, IMG_HW)).item() > 10


def test_gradients_reach_the_answering_cell_and_no_other() -> None:
    box = targets((1, 0, 38 / 64, 10 / 64, 0.2, 0.3))
    raw = zeros(batch=2)
    losses = DetectionLoss(make_heads(), LossOptions(iou_t=0.9, ignore_thresh=1))(raw, box, IMG_HW)
    (losses["box"] + losses["cls"]).backward()
    coarse, fine = (x.grad for x in raw)
    assert coarse is not None
    assert fine is not None
    assert not coarse.any()
    touched = fine.view(2, 2, 7, 4, 4).abs().sum(2).nonzero().tolist()
    assert touched == [[1, 1, 0, 2]]
    at_cell = fine.view(2, 2, 7, 4, 4)[1, 1, :, 0, 2]
    assert at_cell[4] == 0  # the objectness has its own part
    assert (at_cell[[0, 1, 2, 3, 5, 6]] != 0).all()


def test_objectness_aims_at_the_iou_or_at_one() -> None:
    box = targets((0, 1, 38 / 64, 10 / 64, 0.2, 0.35))
    for aim in ("iou", "one"):
        raw = zeros()
        options = LossOptions(
            objectness=1, objectness_target=aim, box_loss="iou", iou_t=0.9, ignore_thresh=1
        )
        DetectionLoss(make_heads(), options)(raw, box, IMG_HW)["obj"].backward()
        gradient = raw[1].grad
        assert gradient is not None
        predicted = xywh_to_xyxy(torch.tensor([[40.0, 8, 16, 16]]))
        fit = iou(predicted, xywh_to_xyxy(box[:, 2:] * 64)).item()
        wanted = fit if aim == "iou" else 1.0
        cells = gradient.view(1, 2, 7, 4, 4)[0, :, 4]
        assert cells[1, 0, 2].item() == pytest.approx(0.5 - wanted, abs=1e-6)
        assert cells[0, 0, 0].item() == pytest.approx(0.5)  # background is pushed down


def test_overlapping_background_is_ignored() -> None:
    """A 30 x 30 target in the middle of a coarse cell; the fine head's boxes are too small."""
    box = targets((0, 1, 16 / 64, 16 / 64, 60 / 64, 60 / 64))
    gradients = {}
    for thresh in (0.2, 1.0):
        raw = zeros()
        options = LossOptions(objectness=1, iou_t=0.9, ignore_thresh=thresh)
        DetectionLoss(make_heads(), options)(raw, box, IMG_HW)["obj"].backward()
        assert raw[0].grad is not None
        gradients[thresh] = raw[0].grad.view(2, 7, 2, 2)[:, 4]
    # anchor 0 (30 px) in the target's own cell has IoU .25: ignored above .2, else background.
    assert gradients[0.2][0, 0, 0] == 0
    assert gradients[1.0][0, 0, 0] == 0.5
    # anchor 1 is the positive itself and counts in both.
    assert gradients[0.2][1, 0, 0] == gradients[1.0][1, 0, 0] != 0.5
    # anchor 0 in the opposite corner overlaps by little: background in both.
    assert gradients[0.2][0, 1, 1] == gradients[1.0][0, 1, 1] == 0.5


def test_ignore_threshold_comes_from_the_section() -> None:
    box = targets((0, 1, 16 / 64, 16 / 64, 60 / 64, 60 / 64))
    values = [
        DetectionLoss(make_heads(f"ignore_thresh={t}"), LossOptions(iou_t=0.9))(
            zeros(), box, IMG_HW
        )["obj"].item()
        for t in (0.2, 0.99)
    ]
    assert values[0] < values[1]


def test_targets_of_other_images_are_not_ignored_for() -> None:
    box = targets((1, 1, 16 / 64, 16 / 64, 60 / 64, 60 / 64))
    raw = zeros(batch=2)
    options = LossOptions(objectness=1, iou_t=0.9, ignore_thresh=0.2)
    DetectionLoss(make_heads(), options)(raw, box, IMG_HW)["obj"].backward()
    assert raw[0].grad is not None
    cells = raw[0].grad.view(2, 2, 7, 2, 2)[:, :, 4]
    assert cells[0, 0, 0, 0] == 0.5
    assert cells[1, 0, 0, 0] == 0


def test_two_targets_in_one_cell_share_its_objectness() -> None:
    good = (0, 1, 40 / 64, 8 / 64, 0.25, 0.25)
    poor = (0, 0, 37 / 64, 5 / 64, 0.25, 0.25)
    cells = []
    for order in ((good, poor), (poor, good)):
        raw = zeros()
        options = LossOptions(objectness=2, iou_t=0.9, ignore_thresh=1)  # 2 positives: factor 1
        DetectionLoss(make_heads(), options)(raw, targets(*order), IMG_HW)["obj"].backward()
        assert raw[1].grad is not None
        cells.append(raw[1].grad.view(2, 7, 4, 4)[1, 4, 0, 2].item())
    assert cells == pytest.approx([-0.5, -0.5], abs=1e-5)


def test_no_targets_leave_only_background() -> None:
    raw = zeros(batch=2)
    losses = DetectionLoss(make_heads(), LossOptions(objectness=1))(raw, targets(), IMG_HW)
    assert losses["box"].item() == losses["cls"].item() == 0
    assert losses["obj"].item() == pytest.approx(2 * 40 * math.log(2), rel=1e-5)
    total(losses).backward()
    for x in raw:
        assert x.grad is not None
        assert torch.isfinite(x.grad).all()


def test_label_smoothing() -> None:
    box = targets((0, 1, 40 / 64, 8 / 64, 0.25, 0.25))
    raw = zeros()
    with torch.no_grad():
        raw[1].view(2, 7, 4, 4)[1, 5:, 0, 2] = torch.tensor([-2.0, 3.0])
    options = LossOptions(classes=1, iou_t=0.9, label_smoothing=0.1)
    value = DetectionLoss(make_heads(), options)(raw, box, IMG_HW)["cls"]
    aims = torch.tensor([0.05, 0.95])
    by_hand = F.binary_cross_entropy_with_logits(torch.tensor([-2.0, 3.0]), aims, reduction="sum")
    assert value.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_new_coords_heads_train_on_probabilities() -> None:
    box = targets((0, 1, 40 / 64, 8 / 64, 0.25, 0.25))
    heads = make_heads("new_coords=1\nscale_x_y=2")
    raw = [torch.full_like(x, 0.5).requires_grad_() for x in zeros()]
    options = LossOptions(objectness=1, classes=1, iou_t=0.9, ignore_thresh=1)
    losses = DetectionLoss(heads, options)(raw, box, IMG_HW)
    assert losses["box"].item() == pytest.approx(0, abs=1e-5)  # 4 * .5^2 * anchor = anchor
    assert losses["cls"].item() == pytest.approx(2 * math.log(2), rel=1e-5)
    with torch.no_grad():  # saturated probabilities stay finite
        for x in raw:
            x.fill_(1.0)
    losses = DetectionLoss(heads, options)(raw, box, IMG_HW)
    total(losses).backward()
    assert all(x.grad is not None and torch.isfinite(x.grad).all() for x in raw)


@pytest.mark.parametrize("extra", ["", "scale_x_y=1.2", "new_coords=1\nscale_x_y=2"])
def test_decoding_is_that_of_the_heads(extra: str) -> None:
    torch.manual_seed(0)
    for head, x in zip(make_heads(extra), zeros(batch=2), strict=True):
        raw = torch.rand_like(x)
        wanted = head.decode(raw, IMG_HW)[..., :4].reshape(2, *x.shape[2:], 2, 4)
        grid = Grid(x.shape[2], x.shape[3], torch.tensor(head.anchors_px), 0.0)
        image, row, column, anchor = torch.ones(wanted.shape[:-1]).nonzero(as_tuple=True)
        picked = head.split(raw)[image, anchor, :4, row, column]
        boxes = decode_px(head, grid, picked, Matches(image, anchor, row, column, row), IMG_HW)
        torch.testing.assert_close(boxes, wanted[image, row, column, anchor])


def test_same_loss_in_any_layout_and_nearly_in_bfloat16() -> None:
    torch.manual_seed(0)
    boxes = targets((0, 1, 0.4, 0.3, 0.25, 0.2), (1, 0, 0.7, 0.6, 0.6, 0.5))
    raw = [torch.randn_like(x) for x in zeros(batch=2)]
    loss = DetectionLoss(make_heads())
    plain = total(loss(raw, boxes, IMG_HW))
    layout = [x.to(memory_format=torch.channels_last) for x in raw]
    torch.testing.assert_close(total(loss(layout, boxes, IMG_HW)), plain)
    low = total(loss([x.bfloat16() for x in raw], boxes, IMG_HW))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, plain, rtol=1e-2, atol=0)


def test_unknown_options() -> None:
    with pytest.raises(ValueError, match="box loss"):
        LossOptions(box_loss="mse")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="objectness"):
        LossOptions(objectness_target="two")  # type: ignore[arg-type]
