"""What the networks of ultralytics have in common: sizes, a backbone, a neck up and down, heads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ..cfg.module_note import MODEL_NOTE
from .draft import Draft
from .modules import names
from .modules.names import Module
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
class Block:
    """A step, and the module of the library that it is."""

    step: Step
    module: Module


@dataclass(frozen=True)
class Stage:
    """`down` halves the size, `blocks` follow; `title` is the comment above them."""

    title: str
    down: Block
    blocks: Block


@dataclass(frozen=True)
class Pyramid:
    """stem: to stride 2; stages: to strides 4, 8, 16, 32, then `end`, its steps with their titles.

    up: the neck's blocks at strides 16 and 8; down: what follows, to strides 16 and 32.
    widths: channels at strides 8, 16, 32, which the heads read.
    """

    stem: Block
    stages: tuple[Stage, Stage, Stage, Stage]
    end: tuple[tuple[str, Block], ...]
    up: tuple[Block, Block]
    down: tuple[tuple[Block, Block], tuple[Block, Block]]
    widths: tuple[int, int, int]

    @property
    def backbone(self) -> tuple[Block, ...]:
        """All blocks up to stride 32."""
        stages = [block for stage in self.stages for block in (stage.down, stage.blocks)]
        return (self.stem, *stages, *(block for _, block in self.end))


class _Placing:
    """Writes blocks in the order of the library's list, in which they have numbers."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.number = 0

    def put(self, block: Block) -> int:
        """The block, noted as the next one. ValueError unless it has a convolution per name."""
        self.draft.held = block.module.places(self.number)
        self.number += 1
        end = block.step(self.draft)
        if self.draft.held:
            raise ValueError(f"{block.module.kind}: nothing is called {self.draft.held}")
        return end

    def joined(self, *sources: int, upsampled: bool = False) -> int:
        """The last layer, maybe twice the size, beside others; of the list one or two blocks."""
        self.number += 1 + upsampled
        last = self.draft.upsample() if upsampled else self.draft.last
        return self.draft.route(last, *sources)


def write(draft: Draft, parts: Pyramid, nc: int, kind: HeadKind) -> str:
    """The whole network, at 640x640, for `nc` classes."""
    _net(draft, description(parts, nc, kind))
    placing = _Placing(draft)
    stride8, stride16, stride32 = _backbone(placing, parts)
    draft.note("Neck: up to stride 16")
    draft.read(stride32)
    placing.joined(stride16, upsampled=True)
    level16 = placing.put(parts.up[0])
    draft.note("Neck: up to stride 8")
    draft.read(level16)
    placing.joined(stride8, upsampled=True)
    levels = [placing.put(parts.up[1])]
    for stride, skip, (down, blocks) in zip((16, 32), (level16, stride32), parts.down, strict=True):
        draft.note(f"Neck: down to stride {stride}")
        placing.put(down)
        placing.joined(skip)
        levels.append(placing.put(blocks))
    draft.held = list(names.heads(placing.number, len(levels), kind.light, kind.two_sets))
    fresh_heads(draft, levels, parts.widths, nc, kind)
    return draft.text()


def description(parts: Pyramid, nc: int, kind: HeadKind) -> dict[str, object]:
    """What the library builds this network from: its blocks in a list, by number."""
    stride8, stride16, stride32 = 4, 6, len(parts.backbone) - 1
    up16, up8 = stride32 + 3, stride32 + 6
    upsample = [-1, 1, "nn.Upsample", ["None", 2, "nearest"]]

    def concat(skip: int) -> list[object]:
        return [[-1, skip], 1, "Concat", [1]]

    rows: list[object] = []
    for block, skip in zip(parts.up, (stride16, stride8), strict=True):
        rows += [upsample, concat(skip), block.module.row()]
    for (down, block), skip in zip(parts.down, (up16, stride32), strict=True):
        rows += [down.module.row(), concat(skip), block.module.row()]
    levels = [up8, up8 + 3, up8 + 6]
    rows.append([levels, 1, kind.module, ["nc"]])
    plain = {"reg_max": kind.reg_max, "end2end": True} if kind.reg_max == 1 else {}
    backbone = [block.module.row() for block in parts.backbone]
    return {"nc": nc, **plain, "backbone": backbone, "head": rows}


def title(name: str, module: str, what: str, by: str = "make_cfg.py") -> Sequence[str]:
    """The lines at the top of a cfg; `by` is the command that writes it."""
    return (
        f"{name}: {what}",
        f"Written by `{by}`; change it in utils/zoo/{module}.py.",
        "Heads are [route] sections with a note; docs/yolov8.md tells how to decode them.",
    )


def _backbone(placing: _Placing, parts: Pyramid) -> tuple[int, int, int]:
    """Returns the ends of the stages at strides 8, 16 and 32."""
    draft = placing.draft
    draft.note("Backbone")
    placing.put(parts.stem)
    ends = []
    for stage in parts.stages:
        draft.note(stage.title)
        placing.put(stage.down)
        ends.append(placing.put(stage.blocks))
    for comment, step in parts.end:
        draft.note(comment)
        ends[3] = placing.put(step)
    draft.end_backbone()
    return ends[1], ends[2], ends[3]


def _net(draft: Draft, described: dict[str, object]) -> None:
    draft.inside = f"# darkslim {MODEL_NOTE} {json.dumps(described)}"
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
