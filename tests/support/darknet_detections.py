"""The result of Darknet's `detector test` for one image, from the raw outputs of the heads.

For comparing with Darknet's own numbers (dialect: section 10). `utils.nms.nms` is for everything
else: it takes batches, has limits and drops bad boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.support.darknet_image import letterboxed_size
from utils.detection.boxes import xywh_to_xyxy
from utils.detection.nms import suppress
from utils.detection.options import NmsKind
from utils.network.layers import Dfl, Head, Region
from utils.network.layers.heads import flatten_cells

THRESH, NMS_THRESH = 0.25, 0.45  # Darknet's defaults


@torch.no_grad()
def darknet_detections(
    heads: Sequence[Head],
    raw: Sequence[Tensor],  # of each head: (1, n * entries, H, W), as `Darknet.raw_heads` gives
    input_hw: tuple[int, int],
    image_hw: tuple[int, int],
    *,
    thresh: float = THRESH,
    nms_thresh: float | None = NMS_THRESH,
    kind: NmsKind | None = None,
    letterbox: bool = False,
) -> Tensor:
    """(n, 7) float32: class, probability, x, y, w, h, objectness; by class, best first.

    Boxes are centre and size in shares of the image; `letterbox` says that it was fitted into the
    input so, else it was stretched. A box has one row for each of its classes whose probability
    exceeds `thresh`. NMS is of the last head's kind unless `kind` is given; None for `nms_thresh`
    leaves it out.
    """
    found = [taken(head, values, input_hw, thresh) for head, values in zip(heads, raw, strict=True)]
    boxes_px, objectness, scores = (
        torch.cat(part, 1)[0].cpu() for part in zip(*found, strict=True)
    )
    boxes = image_shares(boxes_px, input_hw, image_hw, letterbox)
    # Ties stay in the order of the boxes: head, cell, anchor.
    label, box = scores.T.nonzero(as_tuple=True)
    order = scores[box, label].argsort(descending=True, stable=True)
    label, box = label[order], box[order]
    columns = (label[:, None], scores[box, label, None], boxes[box], objectness[box, None])
    rows = torch.cat(columns, 1)
    if nms_thresh is not None:
        rows = rows[_kept(rows, nms_thresh, kind or NmsKind.of_head(heads[-1].section))]
    return rows[rows[:, 0].argsort(stable=True)]


@singledispatch
def taken(
    head: Head, raw: Tensor, input_hw: tuple[int, int], thresh: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What Darknet's `detector test` takes from a head, in the order of `decode`.

    Boxes (B, N, 4), xywh in input pixels; objectness (B, N); class probabilities (B, N, nc),
    objectness included, 0 where they are not reported: both must exceed `thresh`.
    """
    rows = head.decode(raw, input_hw)
    k = head.objectness_entry
    objectness = flatten_cells(head.split(head.activate(raw))[:, :, k : k + 1])
    scores = rows[..., 4:5] * rows[..., 5:]
    reported = (scores > thresh) & (objectness > thresh)
    return rows[..., :4], objectness[..., 0], torch.where(reported, scores, 0.0)


@taken.register
def _(
    head: Region, raw: Tensor, input_hw: tuple[int, int], thresh: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Every cell has the objectness 1; a tree gives one class, the most special.

    That is the last class whose probability exceeds one half, reported as it is where the
    objectness exceeds `thresh`.
    """
    rows = head.decode(raw, input_hw)
    objectness, classes = rows[..., 4:5], rows[..., 5:]
    if head.tree:
        likely = classes > 0.5
        last = likely & (likely.flip(-1).cumsum(-1).flip(-1) == 1)
        scores = torch.where(last & (objectness > thresh), classes, 0.0)
    else:
        scores = objectness * classes
        scores = torch.where(scores > thresh, scores, 0.0)
    return rows[..., :4], torch.ones_like(objectness[..., 0]), scores


@taken.register
def _(
    head: Dfl, raw: Tensor, input_hw: tuple[int, int], thresh: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, objectness 1, and the class probabilities above `thresh`, else 0."""
    rows = head.decode(raw, input_hw)
    scores = rows[..., 5:]
    return rows[..., :4], rows[..., 4], torch.where(scores > thresh, scores, 0.0)


def image_shares(
    boxes_px: Tensor, input_hw: tuple[int, int], image_hw: tuple[int, int], letterbox: bool
) -> Tensor:
    """Boxes (n, 4), xywh in input pixels -> in shares of the image: `correct_yolo_boxes`.

    Darknet cuts the size of a letterboxed image down to whole pixels, and takes the borders on
    both sides as equal.
    """
    (height, width), (inner_h, inner_w) = input_hw, input_hw
    if letterbox:
        inner_h, inner_w = letterboxed_size(image_hw, input_hw)
    border = boxes_px.new_tensor([(width - inner_w) / 2, (height - inner_h) / 2, 0, 0])
    return (boxes_px - border) / boxes_px.new_tensor([inner_w, inner_h, inner_w, inner_h])


def _kept(rows: Tensor, nms_thresh: float, kind: NmsKind) -> NDArray[np.int64]:
    """Positions of the rows that stay."""
    corners = xywh_to_xyxy(rows[:, 2:6].double()).numpy()
    scores, classes = rows[:, 1].numpy(), rows[:, 0].int().numpy()
    return suppress(corners, scores, classes, nms_thresh, len(rows), kind)
