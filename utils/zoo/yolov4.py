"""YOLOv4 (Bochkovskiy et al., arXiv:2004.10934) and Scaled-YOLOv4's CSP (arXiv:2011.08036)."""

from __future__ import annotations

from .blocks import alternate, csp_stage, pyramid_pooling, residual
from .draft import Draft, Pair, Value

ANCHORS_PX: tuple[Pair, ...] = (
    (12, 16), (19, 36), (40, 28), (36, 75), (76, 55), (72, 146), (142, 110), (192, 243), (459, 401),
)  # fmt: skip

# (filters, residual blocks) of the stages at strides 4, 8, 16 and 32; the one at 2 differs
CSP_STAGES = ((128, 2), (256, 8), (512, 8), (1024, 4))

V4_HEAD: dict[str, Value] = {
    "jitter": 0.3,
    "ignore_thresh": 0.7,
    "truth_thresh": 1,
    "iou_thresh": 0.213,
    "cls_normalizer": 1.0,
    "iou_normalizer": 0.07,
    "iou_loss": "ciou",
    "nms_kind": "greedynms",
    "beta_nms": 0.6,
    "max_delta": 5,
}
CSP_HEAD: dict[str, Value] = {
    "jitter": 0.1,
    "scale_x_y": 2.0,
    "ignore_thresh": 0.7,
    "truth_thresh": 1,
    "resize": 1.5,
    "iou_thresh": 0.2,
    "iou_normalizer": 0.05,
    "cls_normalizer": 0.5,
    "iou_loss": "ciou",
    "nms_kind": "diounms",
    "beta_nms": 0.6,
    "new_coords": 1,
}

# Stride, mask, and what differs between the heads
V4_HEADS: tuple[tuple[int, tuple[int, int, int], dict[str, Value]], ...] = (
    (8, (0, 1, 2), {"scale_x_y": 1.2}),
    (16, (3, 4, 5), {"scale_x_y": 1.1}),
    (32, (6, 7, 8), {"random": 1, "scale_x_y": 1.05}),
)
CSP_HEADS: tuple[tuple[int, tuple[int, int, int], dict[str, Value]], ...] = (
    (8, (0, 1, 2), {"objectness_smooth": 0, "obj_normalizer": 4.0, "max_delta": 5}),
    (16, (3, 4, 5), {"objectness_smooth": 1, "obj_normalizer": 1.0, "max_delta": 5}),
    (32, (6, 7, 8), {"objectness_smooth": 1, "obj_normalizer": 0.4, "max_delta": 2}),
)


def yolov4() -> str:
    """CSPDarknet-53 with mish, SPP, a path aggregation neck and three heads."""
    draft = Draft(
        "YOLOv4: CSPDarknet-53, spatial pyramid pooling, path aggregation, three heads.",
        "Written by `python -m utils.zoo`; change it in utils/zoo/yolov4.py.",
        activation="mish",
    )
    _net(draft, 608, learning_rate=0.0013)
    draft.note("Backbone: CSPDarknet-53")
    draft.conv(32, 3)
    draft.note("CSP stage at stride 2, residual blocks: 1")
    csp_stage(draft, 64, 1, first=True)
    stride8, stride16, _ = _csp_stages(draft)

    draft.activation = "leaky"
    draft.note("Neck: pyramid pooling at stride 32")
    alternate(draft, 512, 3)
    pyramid_pooling(draft)
    alternate(draft, 512, 2)
    level32 = draft.conv(512, 1)
    level16 = _up(draft, 256, stride16)
    level16 = alternate(draft, 256, 5)
    _up(draft, 128, stride8)
    lateral = alternate(draft, 128, 5)

    below = {16: level16, 32: level32}
    for stride, mask, options in V4_HEADS:
        filters = 16 * stride
        if stride in below:
            _down(draft, filters, stride, lateral, below[stride])
            lateral = alternate(draft, filters, 5)
        draft.note(f"Head at stride {stride}")
        draft.conv(2 * filters, 3)
        draft.yolo(mask, ANCHORS_PX, {**V4_HEAD, **options})
    return draft.text()


def yolov4_csp() -> str:
    """CSP in the neck too, mish throughout, and heads that decode activated outputs."""
    draft = Draft(
        "YOLOv4-CSP: CSPDarknet-53 with a plain first stage, a CSP neck, three heads.",
        "Written by `python -m utils.zoo`; change it in utils/zoo/yolov4.py.",
        activation="mish",
    )
    _net(draft, 512, letter_box=1, ema_alpha=0.9998)
    draft.note("Backbone: CSPDarknet-53")
    draft.conv(32, 3)
    draft.note("Plain stage at stride 2, residual blocks: 1")
    draft.conv(64, 3, stride=2)
    residual(draft, 32, 64)
    stride8, stride16, _ = _csp_stages(draft)

    level32 = _csp_pooling(draft, 512)
    _up(draft, 256, stride16)
    level16 = _csp_neck(draft, 256)
    _up(draft, 128, stride8)
    lateral = _csp_neck(draft, 128)

    below = {16: level16, 32: level32}
    for stride, mask, options in CSP_HEADS:
        filters = 16 * stride
        if stride in below:
            _down(draft, filters, stride, lateral, below[stride])
            lateral = _csp_neck(draft, filters)
        draft.note(f"Head at stride {stride}")
        draft.conv(2 * filters, 3)
        draft.yolo(mask, ANCHORS_PX, {**CSP_HEAD, **options}, activation="logistic")
    return draft.text()


def _csp_stages(draft: Draft) -> tuple[int, int, int]:
    """The backbone's stages from stride 4 on; returns the ends of those at 8, 16 and 32."""
    ends = []
    for level, (filters, blocks) in enumerate(CSP_STAGES, 2):
        draft.note(f"CSP stage at stride {2**level}, residual blocks: {blocks}")
        ends.append(csp_stage(draft, filters, blocks))
    draft.end_backbone()
    return ends[1], ends[2], ends[3]


def _csp_pooling(draft: Draft, filters: int) -> int:
    """SPP on one way of two."""
    source = draft.last
    draft.note("Neck: CSP with pyramid pooling at stride 32")
    around = draft.conv(filters, 1)
    draft.route(source)
    draft.conv(filters, 1)
    draft.conv(filters, 3)
    draft.conv(filters, 1)
    pyramid_pooling(draft)
    draft.conv(filters, 1)
    draft.conv(filters, 3)
    draft.route(draft.last, around)
    return draft.conv(filters, 1)


def _csp_neck(draft: Draft, filters: int) -> int:
    """Two pairs of 1x1 and 3x3 on one way, one 1x1 on the other."""
    entry = draft.conv(filters, 1)
    around = draft.conv(filters, 1)
    draft.route(entry)
    for _ in range(2):
        draft.conv(filters, 1)
        draft.conv(filters, 3)
    draft.route(draft.last, around)
    return draft.conv(filters, 1)


def _up(draft: Draft, filters: int, tap: int) -> int:
    """One level up the pyramid: the last layer at twice the size beside the backbone's `tap`."""
    draft.note("Neck: up, joined with the backbone")
    draft.conv(filters, 1)
    above = draft.upsample()
    draft.route(tap)
    beside = draft.conv(filters, 1)
    return draft.route(beside, above)


def _down(draft: Draft, filters: int, stride: int, lateral: int, level: int) -> int:
    """One level down: `lateral` at half the size beside the neck's own `level`."""
    draft.note(f"Neck: down to stride {stride}")
    draft.route(lateral)
    half = draft.conv(filters, 3, stride=2)
    return draft.route(half, level)


def _net(draft: Draft, side_px: int, **further: Value) -> None:
    differs: dict[str, Value] = {"subdivisions": 8, "momentum": 0.949, "max_batches": 500500}
    draft.darknet_net(side_px, **differs, mosaic=1, **further)
