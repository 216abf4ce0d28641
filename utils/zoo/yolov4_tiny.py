"""YOLOv4-tiny (Scaled-YOLOv4, arXiv:2011.08036), with two heads and with three."""

from __future__ import annotations

from .draft import Draft, Pair, Value
from .yolov3 import TINY_ANCHORS_PX
from .yolov4 import ANCHORS_PX

LEARNING_RATE = 0.00261

HEAD: dict[str, Value] = {
    "jitter": 0.3,
    "scale_x_y": 1.05,
    "cls_normalizer": 1.0,
    "iou_normalizer": 0.07,
    "iou_loss": "ciou",
    "ignore_thresh": 0.7,
    "truth_thresh": 1,
    "random": 0,
    "resize": 1.5,
    "nms_kind": "greedynms",
    "beta_nms": 0.6,
}


def yolov4_tiny() -> str:
    """Two heads. The second one's mask is 1,2,3, as published: anchor 0 is not used."""
    draft = Draft(
        "YOLOv4-tiny: three CSP stages without residual blocks, two heads.",
        "Written by `python -m utils.zoo`; change it in utils/zoo/yolov4_tiny.py.",
    )
    draft.darknet_net(
        416, learning_rate=LEARNING_RATE, max_batches=2000200, steps=(1600000, 1800000)
    )
    _, stride16 = _backbone(draft)
    lateral = _head32(draft, (3, 4, 5), TINY_ANCHORS_PX)
    _upper_head(draft, 16, lateral, stride16, (1, 2, 3), TINY_ANCHORS_PX)
    return draft.text()


def yolov4_tiny_3l() -> str:
    """A third head at stride 8, for small objects."""
    draft = Draft(
        "YOLOv4-tiny-3l: YOLOv4-tiny with a third head at stride 8.",
        "Written by `python -m utils.zoo`; change it in utils/zoo/yolov4_tiny.py.",
    )
    draft.darknet_net(608, learning_rate=LEARNING_RATE)
    stride8, stride16 = _backbone(draft)
    lateral = _head32(draft, (6, 7, 8), ANCHORS_PX)
    lateral = _upper_head(draft, 16, lateral, stride16, (3, 4, 5), ANCHORS_PX)
    _upper_head(draft, 8, lateral, stride8, (0, 1, 2), ANCHORS_PX)
    return draft.text()


def _backbone(draft: Draft) -> tuple[int, int]:
    """Returns the taps at strides 8 and 16."""
    draft.note("Backbone")
    draft.conv(32, 3, stride=2)
    draft.conv(64, 3, stride=2)
    taps = [
        _csp_stage(draft, filters, stride) for filters, stride in ((64, 4), (128, 8), (256, 16))
    ]
    draft.note("Stride 32")
    draft.conv(512, 3)
    draft.end_backbone()
    return taps[1], taps[2]


def _csp_stage(draft: Draft, filters: int, stride: int) -> int:
    """Half the channels through two 3x3, whose outputs are joined; all channels around; pooled.

    Returns the tap: the joined half, before it meets what went around.
    """
    draft.note(f"CSP stage at stride {stride}, {filters} channels")
    around = draft.conv(filters, 3)
    draft.half(around, 1)
    first = draft.conv(filters // 2, 3)
    second = draft.conv(filters // 2, 3)
    draft.route(second, first)
    tap = draft.conv(filters, 1)
    draft.route(around, tap)
    draft.maxpool(2, 2)
    return tap


def _head32(draft: Draft, mask: tuple[int, int, int], anchors_px: tuple[Pair, ...]) -> int:
    """Returns the layer that the next head starts from."""
    draft.note("Head at stride 32: large objects")
    lateral = draft.conv(256, 1)
    draft.conv(512, 3)
    draft.yolo(mask, anchors_px, HEAD)
    return lateral


def _upper_head(
    draft: Draft,
    stride: int,
    lateral: int,
    tap: int,
    mask: tuple[int, int, int],
    anchors_px: tuple[Pair, ...],
) -> int:
    """Returns the layer that the next head starts from."""
    draft.note(f"Head at stride {stride}: smaller objects")
    draft.route(lateral)
    draft.conv(8 * stride, 1)
    draft.route(draft.upsample(), tap)
    joined = draft.conv(16 * stride, 3)
    draft.yolo(mask, anchors_px, HEAD)
    return joined
