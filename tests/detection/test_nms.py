"""utils/detection/nms.py against greedy suppression written out."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from utils.cfg import CfgError, Section, parse_cfg
from utils.detection.boxes import iou, pairwise_iou, xywh_to_xyxy
from utils.detection.nms import nms
from utils.detection.options import PLAIN, NmsKind

GREEDY = NmsKind("greedynms")


def found_rows(*given: Any, **named: Any) -> list[Tensor]:
    """What `nms` finds in each image, as (n, 6) float32: x1, y1, x2, y2, score, class."""
    return [
        torch.tensor(np.column_stack((d.boxes_xyxy_px, d.scores, d.classes)), dtype=torch.float32)
        for d in nms(*given, **named)
    ]


def random_predictions(rows: int, nc: int = 3, seed: int = 0, size_px: float = 320) -> Tensor:
    """(1, rows, 5 + nc) of boxes in clusters, so that much overlaps."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, size_px, (rows // 10 + 1, 2)).repeat(10, axis=0)[:rows]
    xywh = np.hstack((centres + rng.normal(0, 5, (rows, 2)), rng.uniform(20, 60, (rows, 2))))
    probabilities = rng.uniform(0, 1, (rows, 1 + nc))
    return torch.tensor(np.hstack((xywh, probabilities)), dtype=torch.float32)[None]


def nearness(corners: Tensor, kind: NmsKind) -> Tensor:
    """(n, n): IoU, less (d2 / c2)^exponent for the kinds with a distance."""
    overlap = pairwise_iou(corners, corners)
    if kind.name == "default":
        return overlap
    diou = iou(corners[:, None], corners[None], "diou")  # IoU - d2 / c2
    return overlap - (overlap - diou).clamp(min=0) ** (
        0.6 if kind.name == "greedynms" else kind.beta
    )


def written_out(
    rows: Tensor,
    conf_thres: float,
    iou_thres: float,
    max_det: int,
    multi_label: bool,
    kind: NmsKind = PLAIN,
    aspect: float = 1.0,
) -> Tensor:
    """The same for one image (N, 5 + nc), one box after the other."""
    scores = rows[:, 4:5] * rows[:, 5:]
    if not multi_label:
        scores = torch.where(scores == scores.max(1, keepdim=True).values, scores, 0)
    box, label = (scores > conf_thres).nonzero(as_tuple=True)
    order = scores[box, label].argsort(descending=True, stable=True)
    box, label = box[order], label[order]
    corners = xywh_to_xyxy(rows[:, :4].double())[box]
    overlap = nearness(corners * torch.tensor([1, aspect] * 2), kind)
    kept: list[int] = []
    names = label.tolist()
    for n in range(len(box)):
        rivals = [k for k in kept if names[k] == names[n]]
        if not (overlap[n, rivals] > iou_thres).any():
            kept.append(n)
    kept = kept[:max_det]
    return torch.cat(
        (corners[kept].float(), scores[box, label][kept, None], label[kept, None].float()), dim=1
    )


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize(
    ("conf", "iou", "max_det"), [(0.05, 0.5, 300), (0.2, 0.3, 40), (0.0, 0.8, 60)]
)
def test_equals_greedy_suppression(
    multi_label: bool, conf: float, iou: float, max_det: int
) -> None:
    predictions = torch.cat([random_predictions(150, seed=seed) for seed in range(3)])
    found = found_rows(predictions, conf, iou, max_det, multi_label)
    for rows, ours in zip(predictions, found, strict=True):
        torch.testing.assert_close(ours, written_out(rows, conf, iou, max_det, multi_label))
    other = found_rows(predictions, conf, 0.0, max_det, multi_label)
    assert any(len(a) != len(b) or not torch.equal(a, b) for a, b in zip(found, other, strict=True))


@pytest.mark.parametrize("aspect", [1.0, 3.0])
@pytest.mark.parametrize("kind", [GREEDY, NmsKind("diounms", 0.3), NmsKind("diounms", 1.0)])
@pytest.mark.parametrize(("conf", "iou_thres", "max_det"), [(0.05, 0.45, 300), (0.0, 0.3, 90)])
def test_distances_spare_boxes(
    kind: NmsKind, aspect: float, conf: float, iou_thres: float, max_det: int
) -> None:
    # Several blocks of candidates, of which some are cleared by boxes of an earlier block.
    predictions = torch.cat([random_predictions(300, 2, seed) for seed in range(2)])

    def found(kind: NmsKind, aspect: float) -> list[Tensor]:
        return found_rows(
            predictions, conf, iou_thres, max_det, kind=kind, aspects=[aspect, aspect]
        )

    ours = found(kind, aspect)
    for rows, kept in zip(predictions, ours, strict=True):
        wanted = written_out(rows, conf, iou_thres, max_det, True, kind, aspect)
        torch.testing.assert_close(kept, wanted)
    for other in (found(PLAIN, aspect), found(kind, 1.5), found(NmsKind("diounms", 0.5), aspect)):
        assert not all(
            a.shape == b.shape and torch.equal(a, b) for a, b in zip(ours, other, strict=True)
        )


def test_the_aspect_means_nothing_to_plain_suppression() -> None:
    predictions = random_predictions(300)
    torch.testing.assert_close(
        found_rows(predictions, 0.05, 0.5, aspects=[2.0]), found_rows(predictions, 0.05, 0.5)
    )


def test_neighbours_are_spared_by_their_distance() -> None:
    # Side by side by a quarter of the width: IoU .6, (d2 / c2)^.6 = (.0625 / 2.5625)^.6 = .108.
    two = torch.tensor([[[50, 50, 40, 40, 1, 0.9], [60, 50, 40, 40, 1, 0.8]]])
    assert [len(found_rows(two, 0.1, t)[0]) for t in (0.59, 0.61)] == [1, 2]
    assert [len(found_rows(two, 0.1, t, kind=GREEDY)[0]) for t in (0.491, 0.493)] == [1, 2]
    # As a 1:4 image those lie farther apart: (.0625 / (1.5625 + 1 / 16))^.6 = .141.
    assert [
        len(found_rows(two, 0.1, t, kind=GREEDY, aspects=[0.25])[0]) for t in (0.458, 0.46)
    ] == [1, 2]  # fmt: skip


def head_section(*lines: str) -> Section:
    return parse_cfg("[net]\n[yolo]\n" + "\n".join(lines), "some.cfg").layers[0]


@pytest.mark.parametrize(
    ("lines", "kind", "exponent"),
    [
        ((), NmsKind("default"), None),
        (("nms_kind=default", "beta_nms=0.3"), NmsKind("default", 0.3), None),
        (("nms_kind=greedynms", "beta_nms=0.3"), NmsKind("greedynms", 0.3), 0.6),
        (("nms_kind=diounms",), NmsKind("diounms", 0.6), 0.6),
        (("nms_kind=diounms", "beta_nms=0.3"), NmsKind("diounms", 0.3), 0.3),
        (("nms_kind=cornersnms",), NmsKind("default"), None),
    ],
)
def test_the_cfg_says_which(lines: tuple[str, ...], kind: NmsKind, exponent: float | None) -> None:
    found = NmsKind.of_head(head_section(*lines))
    assert found == kind and found.exponent == exponent


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("nms_kind=softnms",), "some.cfg:3: .*nms_kind.*diounms"),
        (("nms_kind=cornersnms", "yolo_point=left_top"), "some.cfg:3"),
        (("nms_kind=diounms", "beta_nms=0"), "some.cfg:4: .*beta_nms"),
    ],
)
def test_a_cfg_that_asks_for_something_else(lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(CfgError, match=message):
        NmsKind.of_head(head_section(*lines))


def test_class_scores_above_one_count() -> None:
    # A [region] without softmax gives them raw.
    predictions = torch.tensor([[[50, 50, 20, 20, 0.1, 4.0], [99, 50, 20, 20, 0.1, 0.5]]])
    assert found_rows(predictions, 0.3, 0.5)[0][:, 4].tolist() == pytest.approx([0.4])


def test_threshold_is_strict() -> None:
    predictions = torch.tensor([[[50, 50, 20, 20, 0.5, 0.5], [150, 50, 20, 20, 0.5, 0.75]]])
    assert len(found_rows(predictions, 0.25, 0.5)[0]) == 1
    assert len(found_rows(predictions, 0.2499, 0.5)[0]) == 2
    assert found_rows(predictions, 0.9, 0.5)[0].shape == (0, 6)


def test_classes_left_and_above_of_the_image_do_not_meet() -> None:
    # OpenCV tells classes apart by an offset that fails below zero: the second would go.
    predictions = torch.tensor(
        [
            [
                [125, 125, 50, 50, 1, 0.9, 0],
                [-50, -50, 60, 60, 1, 0, 0.8],
                [125, 125, 50, 50, 1, 0, 0.7],
            ]
        ]
    )
    assert len(found_rows(predictions, 0.1, 0.1)[0]) == 3
    same_class = predictions.clone()
    same_class[0, 2, 5:] = torch.tensor([0.7, 0])
    assert len(found_rows(same_class, 0.1, 0.1)[0]) == 2


def test_bad_boxes_are_dropped() -> None:
    good = random_predictions(30)
    bad = random_predictions(6, seed=1)
    bad[0, :, 4:] = 1
    bad[0, 0, 2] = float("inf")
    bad[0, 1, 0] = float("nan")
    bad[0, 2, 3] = 0
    bad[0, 3, 2] = -5
    bad[0, 4, 4] = float("nan")
    bad[0, 5, 5:] = float("nan")
    both = found_rows(torch.cat((bad, good), dim=1), 0.05, 0.5)[0]
    assert torch.equal(both, found_rows(good, 0.05, 0.5)[0])


def test_astronomical_box_leaves_the_others_alone() -> None:
    good = random_predictions(60)
    huge = torch.tensor([[[160, 160, 1e30, 1e30, 1.0, 0, 0, 1.0]]])
    found = found_rows(torch.cat((huge, good), dim=1), 0.05, 0.5)[0]
    assert torch.equal(found[1:], found_rows(good, 0.05, 0.5)[0])


def test_candidates_are_limited_to_the_best() -> None:
    predictions = random_predictions(200)
    predictions[..., 4:] = predictions[..., 4:].round(decimals=1)  # many ties
    few = found_rows(predictions, 0.01, 0.5, max_candidates=40)[0]
    everything = found_rows(predictions, 0.01, 0.5)[0]
    assert 0 < len(few) < len(everything)
    torch.testing.assert_close(few[:10], everything[:10])
    assert torch.equal(few, found_rows(predictions, 0.01, 0.5, max_candidates=40)[0])


def test_half_precision_and_empty_batches() -> None:
    predictions = random_predictions(50)
    # Computed in float32, whose numbers the result holds.
    (half,), (wide,) = (nms(p, 0.05, 0.5) for p in (predictions.half(), predictions.half().float()))
    assert half.boxes_xyxy_px.dtype == half.scores.dtype == np.float64
    for ours, theirs in ((half.boxes_xyxy_px, wide.boxes_xyxy_px), (half.scores, wide.scores)):
        assert np.array_equal(ours, theirs) and np.array_equal(ours, ours.astype(np.float32))
    assert found_rows(predictions[:0], 0.05, 0.5) == []
    assert found_rows(predictions[:, :0], 0.05, 0.5)[0].shape == (0, 6)
    assert found_rows(predictions, 0.05, 0.5, max_det=0)[0].shape == (0, 6)


def test_the_input_is_left_alone() -> None:
    predictions = random_predictions(50)
    before = predictions.clone()
    nms(predictions, 0.05, 0.5)
    assert torch.equal(before, predictions)


def test_untrained_models_are_quick() -> None:
    # 10647 boxes of an untrained 416 px model: every class of every box passes.
    predictions = random_predictions(10_647, nc=20, size_px=416)
    for kind in (PLAIN, GREEDY):
        start = time.process_time()
        found = nms(predictions, 0.001, 0.6, kind=kind)[0]
        # measured: 0.03 s and 0.04 s; without the growing prefix: 3 s
        assert time.process_time() - start < 1.0
        assert len(found) == 300
