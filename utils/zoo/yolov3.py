"""YOLOv3 (Redmon and Farhadi, arXiv:1804.02767), its SPP variant and its tiny one."""

from __future__ import annotations

from .blocks import alternate, pyramid_pooling, residual
from .draft import Draft, Pair, Value

ANCHORS_PX: tuple[Pair, ...] = (
    (10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326),
)  # fmt: skip
TINY_ANCHORS_PX: tuple[Pair, ...] = (
    (10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319),
)  # fmt: skip

# (filters, residual blocks) of the stages at strides 2, 4, 8, 16 and 32
DARKNET53_STAGES = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))

# As published: for testing. Darknet trains it with batch=64, subdivisions=16 (tiny: 2).
TESTING: dict[str, Value] = {"batch": 1}

HEAD: dict[str, Value] = {"jitter": 0.3, "ignore_thresh": 0.7, "truth_thresh": 1, "random": 1}


def yolov3() -> str:
    """Three heads, at 416x416."""
    draft = Draft(
        "YOLOv3: Darknet-53 and a feature pyramid with three heads.",
        "Written by `python -m utils.zoo`; change it in utils/zoo/yolov3.py.",
    )
    return _yolov3(draft, side_px=416, pooling=False)


def yolov3_spp() -> str:
    """YOLOv3 with pyramid pooling before the first head, at 608x608."""
    draft = Draft(
        "YOLOv3-SPP: YOLOv3 with spatial pyramid pooling before the first head.",
        "Written by `python -m utils.zoo`; change it in utils/zoo/yolov3.py.",
    )
    return _yolov3(draft, side_px=608, pooling=True)


def yolov3_tiny() -> str:
    """Plain convolutions and pooling, two heads."""
    draft = Draft(
        "YOLOv3-tiny: convolutions and max pooling, two heads.",
        "Written by `python -m utils.zoo`; change it in utils/zoo/yolov3.py.",
    )
    draft.darknet_net(416, **TESTING)
    for filters in (16, 32, 64, 128, 256):
        draft.note(f"Stage of {filters} channels")
        stride16 = draft.conv(filters, 3)
        draft.maxpool(2, 2)
    draft.note("Stride 32; this pooling keeps the size")
    draft.conv(512, 3)
    draft.maxpool(2, 1)
    draft.conv(1024, 3)
    draft.end_backbone()

    draft.note("Head at stride 32: large objects")
    lateral = draft.conv(256, 1)
    draft.conv(512, 3)
    draft.yolo((3, 4, 5), TINY_ANCHORS_PX, HEAD)

    draft.note("Head at stride 16: small objects")
    draft.route(lateral)
    draft.conv(128, 1)
    draft.route(draft.upsample(), stride16)
    draft.conv(256, 3)
    draft.yolo((0, 1, 2), TINY_ANCHORS_PX, HEAD)
    return draft.text()


def darknet53(draft: Draft) -> tuple[int, int, int]:
    """The backbone; returns the ends of its stages at strides 8, 16 and 32."""
    draft.note("Backbone: Darknet-53")
    draft.conv(32, 3)
    ends = []
    for level, (filters, blocks) in enumerate(DARKNET53_STAGES, 1):
        draft.note(f"Stage at stride {2**level}: residual blocks of {filters} channels: {blocks}")
        draft.conv(filters, 3, stride=2)
        for _ in range(blocks):
            residual(draft, filters // 2, filters)
        ends.append(draft.last)
    draft.end_backbone()
    return ends[2], ends[3], ends[4]


def _yolov3(draft: Draft, side_px: int, pooling: bool) -> str:
    draft.darknet_net(side_px, **TESTING)
    stride8, stride16, _ = darknet53(draft)

    draft.note("Head at stride 32: large objects")
    if pooling:
        alternate(draft, 512, 3)
        pyramid_pooling(draft)
        alternate(draft, 512, 2)
        lateral = draft.conv(512, 1)
    else:
        lateral = alternate(draft, 512, 5)
    draft.conv(1024, 3)
    draft.yolo((6, 7, 8), ANCHORS_PX, HEAD)

    lower = ((256, stride16, (3, 4, 5), "16: medium"), (128, stride8, (0, 1, 2), "8: small"))
    for filters, tap, mask, name in lower:
        draft.note(f"Head at stride {name} objects")
        draft.route(lateral)
        draft.conv(filters, 1)
        draft.route(draft.upsample(), tap)
        lateral = alternate(draft, filters, 5)
        draft.conv(2 * filters, 3)
        draft.yolo(mask, ANCHORS_PX, HEAD)
    return draft.text()
