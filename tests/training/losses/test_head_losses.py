"""The losses that a head's section asks for: per-head options, [Gaussian_yolo] and [region]."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models import Darknet
from utils.cfg import parse_cfg
from utils.command.errors import UserError
from utils.detection.boxes import iou, xywh_to_xyxy
from utils.network.layers import Head
from utils.training.losses.loss import DetectionLoss, total
from utils.training.losses.options import CFG_DECIDES, LossOptions

NC = 2
IMG_HW = (64, 64)
BY_CFG = LossOptions(from_cfg=CFG_DECIDES)
BOX = torch.tensor([[0, 1, 38 / 64, 10 / 64, 0.2, 0.35]])
ANCHORS = {"yolo": "8,8, 16,16", "Gaussian_yolo": "8,8, 16,16", "region": "0.5,0.5, 1,1"}


def network(kind: str, extra: str = "") -> Darknet:
    """Cells of 16 px, anchors of 8 and 16 px."""
    entries = {"yolo": 5, "Gaussian_yolo": 9, "region": 5}[kind] + NC
    text = f"""[net]
width=64
height=64
channels=3
[convolutional]
size=16
stride=16
filters={2 * entries}
activation=linear
[{kind}]
anchors={ANCHORS[kind]}
num=2
classes={NC}
"""
    return Darknet(parse_cfg(text + extra.replace(" ", "\n")))


def head_of(kind: str, extra: str = "") -> Head:
    return network(kind, extra).heads[0]


def zeros(head: Head, batch: int = 1) -> Tensor:
    return torch.zeros(batch, 2 * head.entries, 4, 4, requires_grad=True)


def gradient(head: Head, part: str, options: LossOptions = BY_CFG, box: Tensor = BOX) -> Tensor:
    """Of a part of the loss, all raw numbers 0: (n, entries, H, W)."""
    raw = zeros(head)
    DetectionLoss([head], options)([raw], box, IMG_HW)[part].backward()
    assert raw.grad is not None
    return head.split(raw.grad)[0]


def train(kind: str, extra: str, options: LossOptions) -> tuple[float, float, Darknet]:
    torch.manual_seed(0)
    model = network(kind, extra).train()
    loss = DetectionLoss(model.heads, options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    image = torch.zeros(2, 3, 64, 64)
    image[:, :, 3:22, 32:45] = 0.1
    boxes = torch.cat((BOX, BOX))
    boxes[1, 0] = 1
    values = []
    for _ in range(100):
        optimizer.zero_grad()
        value = total(loss(model(image), boxes, IMG_HW))
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
        values.append(value.item())
    return values[0], values[-1], model


@pytest.mark.parametrize(
    ("kind", "extra"),
    [
        ("yolo", "iou_loss=ciou iou_normalizer=0.07 max_delta=5"),
        ("yolo", ""),
        ("Gaussian_yolo", "iou_loss=giou iou_normalizer=0.5"),
        ("Gaussian_yolo", ""),
        ("region", "softmax=1 object_scale=5 rescore=1 thresh=0.6"),
        ("region", "softmax=0"),
    ],
)
def test_training_lowers_the_loss_and_decode_finds_the_box(kind: str, extra: str) -> None:
    first, last, model = train(kind, extra, BY_CFG)
    assert last < first / 2
    image = torch.zeros(1, 3, 64, 64)
    image[:, :, 3:22, 32:45] = 0.1
    found = model.eval()(image)[0]
    best = found[found[:, 4].argmax()]
    overlap = iou(xywh_to_xyxy(best[:4]), xywh_to_xyxy(BOX[0, 2:] * 64)).item()
    assert overlap > 0.5


@pytest.mark.parametrize("kind", ["yolo", "Gaussian_yolo", "region"])
def test_own_options_train_every_kind(kind: str) -> None:
    first, last, _ = train(kind, "softmax=1" if kind == "region" else "", LossOptions())
    assert last < first


@pytest.mark.parametrize("kind", ["yolo", "Gaussian_yolo", "region"])
@pytest.mark.parametrize("name", ["mse", "iou", "giou", "diou", "ciou"])
def test_perfect_boxes_cost_nothing(kind: str, name: str) -> None:
    head = head_of(kind, f"iou_loss={name}")
    raw = zeros(head).detach()
    entries = head.split(raw)[0, 1, :, 0, 2]  # the cell of a 16 px box in its middle
    if kind == "Gaussian_yolo":
        entries[1:8:2] = -12  # certain
    box = torch.tensor([[0, 1, 40 / 64, 8 / 64, 0.25, 0.25]])
    loss = DetectionLoss([head], BY_CFG)
    assert loss([raw], box, IMG_HW)["box"].item() == pytest.approx(0, abs=2e-3)
    moved = box + torch.tensor([0, 0, 0.05, 0.02, 0.1, 0])
    assert loss([raw], moved, IMG_HW)["box"].item() > 0.02


@pytest.mark.parametrize("kind", ["yolo", "Gaussian_yolo", "region"])
def test_gradients_reach_the_cell_of_the_centre_alone(kind: str) -> None:
    head = head_of(kind, "iou_loss=ciou softmax=1")
    for part in ("box", "cls"):
        touched = gradient(head, part).abs().sum(1).nonzero().tolist()
        assert touched == [[1, 0, 2]]
    assert (gradient(head, "obj")[:, head.objectness_entry] != 0).sum() > 1


# -- [yolo] as the cfg says ----------------------------------------------------------------------


def test_without_the_cfg_the_section_changes_nothing() -> None:
    plain, asked = head_of("yolo"), head_of("yolo", "iou_loss=mse iou_normalizer=9 iou_thresh=0.01")
    values = [DetectionLoss([h])([zeros(h)], BOX, IMG_HW)["box"].item() for h in (plain, asked)]
    assert values[0] == values[1]
    by_cfg = [DetectionLoss([h], BY_CFG)([zeros(h)], BOX, IMG_HW)["box"] for h in (plain, asked)]
    assert by_cfg[0].item() != by_cfg[1].item()


def test_normalizers_are_factors() -> None:
    base = head_of("yolo", "iou_loss=giou iou_normalizer=1")
    heavy = head_of("yolo", "iou_loss=giou iou_normalizer=2 cls_normalizer=3 obj_normalizer=4")
    one, other = (DetectionLoss([h], BY_CFG)([zeros(h)], BOX, IMG_HW) for h in (base, heavy))
    ratios = {name: (other[name] / one[name]).item() for name in one}
    assert ratios == pytest.approx({"box": 2, "cls": 3, "obj": 4})


def test_mse_has_the_deltas_of_darknet() -> None:
    """Delta = (2 - w h) (aim - value): centre of 38, 10 px in cell (2, 0), 12.8 x 22.4 px."""
    head = head_of("yolo", "iou_loss=mse iou_normalizer=0.5")
    weight = 0.5 * (2 - 0.2 * 0.35)
    aims = torch.tensor([38 / 16 - 2, 10 / 16, math.log(12.8 / 16), math.log(22.4 / 16)])
    wanted = weight * (torch.tensor([0.5, 0.5, 0, 0]) - aims)
    torch.testing.assert_close(gradient(head, "box")[1, :4, 0, 2], wanted)


def test_iou_gradient_is_by_shares_of_the_input_and_clipped() -> None:
    head = head_of("yolo", "iou_loss=iou iou_normalizer=1")
    rel = torch.tensor([40 / 64, 8 / 64, 0.25, 0.25], requires_grad=True)
    (1 - iou(xywh_to_xyxy(rel), xywh_to_xyxy(BOX[0, 2:]))).backward()
    assert rel.grad is not None  # exp(0) = 1: width and height need no factor
    torch.testing.assert_close(gradient(head, "box")[1, :4, 0, 2], rel.grad)
    limit = rel.grad.abs().max().item() / 2
    clipped = gradient(head_of("yolo", f"iou_loss=iou iou_normalizer=1 max_delta={limit}"), "box")
    torch.testing.assert_close(clipped[1, :4, 0, 2], rel.grad.clamp(-limit, limit))


def test_iou_thresh_lets_more_anchors_answer() -> None:
    few, more = head_of("yolo"), head_of("yolo", "iou_thresh=0.1")
    counts = [int(gradient(h, "cls").abs().sum(1).count_nonzero()) for h in (few, more)]
    assert counts == [1, 2]


def test_truth_thresh_makes_positives_of_good_boxes() -> None:
    """The 8 px anchor of a cell that holds a 16 px target overlaps it by a quarter."""
    box = torch.tensor([[0, 1, 40 / 64, 8 / 64, 0.25, 0.25]])
    for thresh, positives in ((1, 1), (0.2, 2), (0.3, 1)):
        head = head_of("yolo", f"truth_thresh={thresh} ignore_thresh=0.9")
        assert gradient(head, "cls", box=box).abs().sum(1).count_nonzero() == positives


def test_sums_are_per_image_as_in_darknet() -> None:
    head = head_of("yolo", "iou_loss=iou")
    one = DetectionLoss([head], BY_CFG)([zeros(head)], BOX, IMG_HW)["box"].item()
    two = DetectionLoss([head], BY_CFG)([zeros(head, 2)], BOX, IMG_HW)["box"].item()
    assert two == pytest.approx(one / 2)


def test_an_unknown_iou_loss_is_refused_with_its_line() -> None:
    with pytest.raises(UserError, match=r"<text>:\d+: \[yolo\] iou_loss: must be one of"):
        DetectionLoss([head_of("yolo", "iou_loss=siou")], BY_CFG)


# -- [Gaussian_yolo] -----------------------------------------------------------------------------


def test_likelihood_by_hand() -> None:
    head = head_of("Gaussian_yolo", "iou_normalizer=1")
    aims = torch.tensor([38 / 16 - 2, 10 / 16, math.log(12.8 / 16), math.log(22.4 / 16)])
    mean, sigma = torch.tensor([0.5, 0.5, 0, 0]), 0.5
    density = torch.exp(-(((aims - mean) / sigma) ** 2) / 2) / (math.sqrt(2 * math.pi) * 0.8)
    best = 1 / (math.sqrt(2 * math.pi) * 0.3)
    by_hand = (2 - 0.2 * 0.35) / 2 * (math.log(best) - (density + 1e-9).log()).sum()
    value = DetectionLoss([head], BY_CFG)([zeros(head)], BOX, IMG_HW)["box"]
    assert value.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_with_an_iou_the_likelihood_trains_the_uncertainty_alone() -> None:
    giou = gradient(head_of("Gaussian_yolo", "iou_loss=giou uc_normalizer=1"), "box")
    none = gradient(head_of("Gaussian_yolo", "iou_loss=giou uc_normalizer=0"), "box")
    at = (1, slice(0, 8), 0, 2)
    assert torch.equal(giou[at][0::2], none[at][0::2])
    assert (giou[at][1::2] != 0).all()
    assert not none[at][1::2].any()


@pytest.mark.parametrize(("point", "cell"), [("left_top", (0, 1)), ("right_bottom", (1, 2))])
def test_the_cell_of_the_point_answers(point: str, cell: tuple[int, int]) -> None:
    box = torch.tensor([[0, 1, 36 / 64, 16 / 64, 0.25, 0.25]])  # 28..44, 8..24 px
    head = head_of("Gaussian_yolo", f"yolo_point={point}")
    assert gradient(head, "box", box=box).abs().sum(1).nonzero().tolist() == [[1, *cell]]


# -- [region] ------------------------------------------------------------------------------------


def test_region_by_hand() -> None:
    scales = "object_scale=5 noobject_scale=2 class_scale=3 coord_scale=4 thresh=0.99"
    head = head_of("region", f"softmax=1 {scales}")
    raw = zeros(head)
    losses = DetectionLoss([head], BY_CFG)([raw], BOX, IMG_HW)
    assert losses["cls"].item() == pytest.approx(3 * math.log(NC), rel=1e-5)
    assert losses["obj"].item() == pytest.approx((5 + 31 * 2) * 0.25 / 2, rel=1e-5)
    aims = torch.tensor([math.log(12.8 / 16), math.log(22.4 / 16)])
    share = torch.tensor([38 / 16 - 2, 10 / 16])
    centre = F.binary_cross_entropy(torch.full((2,), 0.5), share, reduction="sum")
    least = F.binary_cross_entropy(share, share, reduction="sum")
    by_hand = 4 * (centre - least + aims.square().sum() / 2)
    assert losses["box"].item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_region_leaves_overlapping_background_alone() -> None:
    box = torch.tensor([[0, 1, 40 / 64, 8 / 64, 0.25, 0.25]])
    for thresh, left_alone in ((0.2, True), (0.3, False)):  # the 8 px anchor overlaps by .25
        head = head_of("region", f"thresh={thresh}")
        assert bool(gradient(head, "obj", box=box)[0, 4, 0, 2] == 0) == left_alone


def test_region_rescore_aims_at_the_iou() -> None:
    fit = iou(xywh_to_xyxy(torch.tensor([40.0, 8, 16, 16])), xywh_to_xyxy(BOX[0, 2:] * 64)).item()
    for rescore, aim in ((0, 1.0), (1, fit)):
        at = gradient(head_of("region", f"rescore={rescore}"), "obj")[1, 4, 0, 2]
        assert at.item() == pytest.approx((0.5 - aim) * 0.25, abs=1e-6)


def test_a_tree_is_refused() -> None:
    head = head_of("region")
    head.tree = (-1, 0)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="tree of classes cannot be trained"):
        DetectionLoss([head])
