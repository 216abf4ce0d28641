"""A small residual detector of our own, for `make demo` and the tests.

It has what the large ones have and pruning must get right (residual stages whose channels are tied,
an upsampled branch joined with the backbone, two heads), at a size that two CPU cores train in
minutes.
"""

from __future__ import annotations

from .blocks import residual
from .draft import Draft, Pair, Value

SIDE_PX = 160
CLASSES = 3

# Objects of data/shapes.py measure some 10% to 45% of the image.
ANCHORS_PX: tuple[Pair, ...] = ((20, 20), (27, 27), (36, 34), (44, 46), (56, 52), (70, 70))

# (filters, residual blocks) of the stages at strides 4, 8 and 16
STAGES = ((32, 1), (64, 2), (128, 3))

HEAD: dict[str, Value] = {
    "jitter": 0.3,
    "scale_x_y": 1.1,
    "cls_normalizer": 1.0,
    "iou_normalizer": 0.07,
    "iou_loss": "ciou",
    "iou_thresh": 0.213,
    "ignore_thresh": 0.7,
    "truth_thresh": 1,
    "random": 0,
    "nms_kind": "greedynms",
    "beta_nms": 0.6,
}


def demo() -> str:
    """Three classes, two heads."""
    draft = Draft(
        "demo: a small residual network with two heads, for data/shapes.py.",
        "Written by `python -m utils.zoo`; change it in utils/zoo/demo.py.",
    )
    draft.darknet_net(
        SIDE_PX, batch=32, burn_in=200, max_batches=6000, steps=(4800, 5400), mosaic=1
    )
    draft.note("Backbone")
    draft.conv(16, 3, stride=2)
    ends = []
    for level, (filters, blocks) in enumerate(STAGES, 2):
        draft.note(f"Stage at stride {2**level}: residual blocks of {filters} channels: {blocks}")
        draft.conv(filters, 3, stride=2)
        for _ in range(blocks):
            residual(draft, filters // 2, filters)
        ends.append(draft.last)
    draft.end_backbone()

    draft.note("Head at stride 16: large objects")
    lateral = draft.conv(64, 1)
    draft.conv(128, 3)
    draft.yolo((3, 4, 5), ANCHORS_PX, HEAD, classes=CLASSES)

    draft.note("Head at stride 8: small objects")
    draft.route(lateral)
    draft.conv(32, 1)
    draft.route(draft.upsample(), ends[1])
    draft.conv(64, 3)
    draft.yolo((0, 1, 2), ANCHORS_PX, HEAD, classes=CLASSES)
    return draft.text()
