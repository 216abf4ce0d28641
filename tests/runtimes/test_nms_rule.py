"""A suppression is held against its rule: ties go either way, and a wrong one is seen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from utils.detection.nms import nms
from utils.runtimes.agreement import compare_outputs
from utils.runtimes.onnx.nms_rule import contradictions

CONF, IOU, MOST = 0.3, 0.45, 20


def crowded(boxes: int = 600) -> Tensor:
    """(1, N, 5 + 2): many overlap, and scores differ by less than float32 tells apart."""
    torch.manual_seed(0)
    centre, size = 100 * torch.rand(boxes, 2), 10 + 20 * torch.rand(boxes, 2)
    scores = 0.5 + 1e-7 * torch.rand(boxes, 1)
    return torch.cat((centre, size, torch.ones(boxes, 1), scores, scores.flip(0)), 1)[None]


def kept_of(predictions: Tensor) -> Tensor:
    """(n, 6) as a graph ends with: xywh, score, class."""
    (found,) = nms(predictions, CONF, IOU, max_det=10**6, multi_label=True)
    boxes = torch.from_numpy(found.boxes_xyxy_px).float()
    wh = boxes[:, 2:] - boxes[:, :2]
    scores, classes = (torch.from_numpy(part).float() for part in (found.scores, found.classes))
    rows = torch.cat((boxes[:, :2] + wh / 2, wh, scores[:, None], classes[:, None]), 1)
    return torch.cat([rows[rows[:, 5] == label][:MOST] for label in (0, 1)])


def count(kept: Tensor, predictions: Tensor) -> int:
    return contradictions(kept, predictions[0], CONF, IOU, MOST)


def test_ties_go_either_way_and_what_is_wrong_is_seen() -> None:
    predictions = crowded()
    kept = kept_of(predictions)
    assert len(kept) > MOST
    nudged = predictions.clone()
    nudged[..., 5:] *= 1 + 1e-6 * torch.rand_like(nudged[..., 5:])
    other = kept_of(nudged)
    assert other.shape != kept.shape or not torch.equal(other[:, :4], kept[:, :4])
    assert count(kept, predictions) == count(other, predictions) == 0
    assert compare_outputs(nudged, predictions).moved == 0
    few = predictions[:, :15]  # none of its classes is full
    right = kept_of(few)
    assert count(right, few) == 0 and len(right) < 2 * MOST
    assert count(right[1:], few) > 0  # one is missing
    assert count(torch.cat((right, right[:1] + torch.tensor([2, 0, 0, 0, 0, 0])), 0), few) > 0
    relabelled = right.clone()
    relabelled[0, 5] = 2
    assert count(relabelled, few) > 0
    sure = torch.zeros(1, 6) + torch.tensor([50, 50, 5, 5, 0.1, 0])  # below the threshold
    assert count(torch.cat((right, sure)), few) > 0


def test_nothing_kept_is_right_only_where_nothing_is_sure() -> None:
    predictions, none = crowded(30), torch.zeros(0, 6)
    assert count(none, predictions) > 0
    assert count(none, predictions * 0.1) == 0


@pytest.mark.parametrize("best", [0.9, 0.004])
def test_scores_are_compared_at_the_size_that_they_have(best: float) -> None:
    predictions = crowded(40)
    predictions[..., 5:] = best * torch.rand(1, 40, 2)
    off = predictions.clone()
    off[0, predictions[0, :, 5].argmax(), 5] *= 0.9
    found = compare_outputs(off, predictions)
    assert found.boxes > 0 and found.moved == 1
    assert compare_outputs(predictions, predictions).moved == 0
