"""What the networks of ultralytics have in common: sizes, a backbone, a neck up and down, heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .draft import Draft
from .ultralytics_blocks import HeadKind, Step, fresh_heads


@dataclass(frozen=True)
class Size:
    """depth: share of the repeated blocks; width: share of the channels, of at most `most`."""

    depth: float
    width: float
    most: int

    def channels(self, base: int) -> int:
        """Channels for `base` of the full size, in multiples of 8."""
        return -(-int(min(base, self.most) * self.width) // 8) * 8

    def blocks(self, base: int) -> int:
        """Repeated blocks for `base` of the full size."""
        return max(1, round(base * self.depth))


# Of YOLO11, 12 and 26.
SIZES = {
    "n": Size(0.5, 0.25, 1024),
    "s": Size(0.5, 0.5, 1024),
    "m": Size(0.5, 1.0, 512),
    "l": Size(1.0, 1.0, 512),
    "x": Size(1.0, 1.5, 512),
}


@dataclass(frozen=True)
class Stage:
    """`down` halves the size, `blocks` follow; `title` is the comment above them."""

    title: str
    down: Step
    blocks: Step


@dataclass(frozen=True)
class Pyramid:
    """stem: to stride 2; stages: to strides 4, 8, 16, 32, then `end`, its steps with their titles.

    up: the neck's blocks at strides 16 and 8; down: what follows, to strides 16 and 32.
    widths: channels at strides 8, 16, 32, which the heads read.
    """

    stem: Step
    stages: tuple[Stage, Stage, Stage, Stage]
    end: tuple[tuple[str, Step], ...]
    up: tuple[Step, Step]
    down: tuple[tuple[Step, Step], tuple[Step, Step]]
    widths: tuple[int, int, int]


def write(draft: Draft, parts: Pyramid, nc: int, kind: HeadKind) -> str:
    """The whole network, at 640x640, for `nc` classes."""
    _net(draft)
    stride8, stride16, stride32 = _backbone(draft, parts)
    draft.note("Neck: up to stride 16")
    draft.read(stride32)
    draft.route(draft.upsample(), stride16)
    level16 = parts.up[0](draft)
    draft.note("Neck: up to stride 8")
    draft.read(level16)
    draft.route(draft.upsample(), stride8)
    levels = [parts.up[1](draft)]
    for stride, skip, (down, blocks) in zip((16, 32), (level16, stride32), parts.down, strict=True):
        draft.note(f"Neck: down to stride {stride}")
        draft.route(down(draft), skip)
        levels.append(blocks(draft))
    fresh_heads(draft, levels, parts.widths, nc, kind)
    return draft.text()


def title(name: str, module: str, what: str, by: str = "make_cfg.py") -> Sequence[str]:
    """The lines at the top of a cfg; `by` is the command that writes it."""
    return (
        f"{name}: {what}",
        f"Written by `{by}`; change it in utils/zoo/{module}.py.",
        "Heads are [route] sections with a note; docs/yolov8.md tells how to decode them.",
    )


def _backbone(draft: Draft, parts: Pyramid) -> tuple[int, int, int]:
    """Returns the ends of the stages at strides 8, 16 and 32."""
    draft.note("Backbone")
    parts.stem(draft)
    ends = []
    for stage in parts.stages:
        draft.note(stage.title)
        stage.down(draft)
        ends.append(stage.blocks(draft))
    for comment, step in parts.end:
        draft.note(comment)
        ends[3] = step(draft)
    draft.end_backbone()
    return ends[1], ends[2], ends[3]


def _net(draft: Draft) -> None:
    draft.net(
        batch=16,
        subdivisions=1,
        width=640,
        height=640,
        channels=3,
        letter_box=1,
        momentum=0.937,
        decay=0.0005,
        learning_rate=0.01,
        burn_in=1000,
        max_batches=500000,
        policy="steps",
        steps=[400000, 450000],
        scales="0.1,0.1",
        saturation=1.7,
        exposure=1.4,
        hue=0.015,
        mosaic=1,
    )
