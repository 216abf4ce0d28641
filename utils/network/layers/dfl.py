"""The head of YOLOv8 to YOLO26: no anchors, no objectness; a side of a box is a distribution.

(Of YOLO26 a plain number: `reg_max` 1.)

Darknet has no section for it. In a cfg it is a `[route]` that joins the box branch (4 * reg_max
channels) and the class branch (nc channels) of one level, with a note that says so:

    [route]
    # darkslim head {"kind": "dfl", "level": 0, "levels": 3, "stride": 8, "reg_max": 16, ...}
    layers=-4,-1

A network may have two sets of them, as YOLOv10 and YOLO26 are trained: `"answers": false` marks the
set that only trains the layers below it (two_sets.py).

Any runtime then gives the raw head, and we (or examples/yolov8_opencv.py) decode it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...cfg import Section, read_note, references, with_note
from ...cfg.head_note import HEAD_NOTE
from ...command.later import torch
from .base import Module, Params, Shape, Tensor
from .heads import Head, cell_corners, logit
from .ties import Ids, Ties

_MOST_BINS = 1024
_FIRST_SIDE_CELLS = 2.0


class Dfl(Head):
    """One level: channels are left, top, right, bottom times reg_max bins, then class logits."""

    kind = "dfl"
    loss_kind = "dfl"
    scores_objects = False
    mask = ()
    all_anchors = ()

    @classmethod
    def read_sources(cls, section: Section, index: int) -> tuple[int, ...]:
        """`layers`: the box branch, then the class branch."""
        if section.kind != "route":
            raise section.error("only a [route] can hold the note of a dfl head")
        found = references(section, index, "layers")
        if len(found) != 2 or section.has("groups"):
            raise section.error("a dfl head joins its box branch and its class branch", "layers")
        return found

    def infer_shape(self) -> Shape:
        """Reads the note; the branches must have the channels that it says."""
        note = read_note(self.section, HEAD_NOTE)
        self.reg_max = self._count(note, "reg_max", 1, _MOST_BINS)
        self.nc = self._count(note, "classes", 1, 1 << 20)
        self.stride_px = self._count(note, "stride", 1, 1 << 10)
        self.one2one = self._bool(note, "one2one", False)
        self.answers = self._bool(note, "answers", True)
        self.entries = 4 * self.reg_max + self.nc
        self.require_same_size(self.inputs)
        wanted = (4 * self.reg_max, self.nc)
        found = tuple(shape[0] for shape in self.inputs)
        if found != wanted:
            raise self.error(f"its branches need {wanted} channels, but have {found}", "layers")
        return self.entries, *self.inputs[0][1:]

    def _read_options(self) -> None:
        """`infer_shape` reads all."""

    def _count(self, note: Any, key: str, least: int, most: int) -> int:
        value = note.get(key)
        if type(value) is not int or not least <= value <= most:
            raise self.error(f"its note needs a {key} of {least} to {most}, not {value!r}")
        return value

    def _bool(self, note: Any, key: str, default: bool) -> bool:
        value = note.get(key, default)
        if type(value) is not bool:
            raise self.error(f"its note needs {key} to be true or false, not {value!r}")
        return value

    def filters_for(self, nc: int) -> dict[int, int]:
        """The class branch alone depends on the classes."""
        return {self.sources[1]: nc}

    def section_for(self, nc: int) -> Section:
        """The note says how many classes there are."""
        note = read_note(self.section, HEAD_NOTE)
        return with_note(self.section, HEAD_NOTE, {**note, "classes": nc})

    def traits(self) -> str:
        """Bins, classes, whether it needs no NMS, and whether it only trains."""
        bins = f"{self.reg_max} bin{'s' if self.reg_max > 1 else ''}"
        kind = ", one2one" if self.one2one else ""
        return f"{bins}, {self.nc} classes{kind}{'' if self.answers else ', only trains'}"

    def split(self, x: Tensor) -> Tensor:
        """(B, entries, H, W) as (B, 1, entries, H, W)."""
        return x[:, None]

    def raw(self, inputs: Sequence[Tensor]) -> Tensor:
        """(B, 4 * reg_max + nc, H, W)."""
        return torch.cat(list(inputs), 1)

    def answers_as(self, other: Head, factor: float = 1.0) -> bool:
        """With the same grid, bins and classes, for the same task: sides are in cells."""
        return (
            isinstance(other, Dfl)
            and self.shape == other.shape
            and (self.reg_max, self.one2one) == (other.reg_max, other.one2one)
        )

    def set_priors_(self, source: int, bias: Tensor) -> None:
        """Of the class branch: 5 objects per image of 640 px, among the cells of the level.

        Sides that are plain numbers start at 2 cells: boxes without an area overlap nothing.
        """
        if source == self.sources[0] and self.reg_max == 1:
            bias.fill_(_FIRST_SIDE_CELLS)
        if source == self.sources[-1]:
            cells = (640 / self.stride_px) ** 2
            bias.fill_(logit(min(0.5, 5 / self.nc / cells)))

    def activate(self, raw: Tensor) -> Tensor:
        """As they are: to Darknet this is a [route]."""
        return raw

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """What the [route] gives."""
        return self.raw(inputs)

    def decode(self, raw: Tensor, input_hw: tuple[int, int]) -> Tensor:
        """Each side lies at the expectation of its bins, in cells, from the cell's centre.

        The objectness is 1: the classes alone say whether there is an object.
        """
        rows, columns = raw.shape[2:]
        boxes, classes = torch.split(raw, [4 * self.reg_max, self.nc], 1)
        sides = self.sides(boxes)  # (B, 4, H, W)
        low, high = sides[:, :2], sides[:, 2:]
        cells = cell_corners(rows, columns, raw) + 0.5
        stride = raw.new_tensor([input_hw[1] / columns, input_hw[0] / rows]).view(1, 2, 1, 1)
        xy = (cells + (high - low) / 2) * stride
        wh = (low + high) * stride
        parts = (xy, wh, torch.ones_like(xy[:, :1]), classes.sigmoid())
        return torch.cat(parts, 1).flatten(2).transpose(1, 2)

    def sides(self, boxes: Tensor) -> Tensor:
        """(B, 4 * reg_max, H, W) logits -> (B, 4, H, W): left, top, right, bottom, in cells.

        With one bin they are the sides themselves, which then can be negative.
        """
        if self.reg_max == 1:
            return boxes
        bins = torch.arange(self.reg_max, dtype=boxes.dtype, device=boxes.device)
        rows, columns = boxes.shape[2:]
        # Rows and columns as one: over five dimensions ONNX Runtime's softmax takes four times as
        # long. OpenCV's importer of ONNX reads no einsum.
        spread = boxes.reshape(len(boxes), 4, self.reg_max, rows * columns).softmax(2)
        return (spread * bins.view(-1, 1)).sum(2).view(len(boxes), 4, rows, columns)

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """Each channel means something: none can go."""
        ids = np.concatenate(list(inputs))
        ties.pin(ids, f"read by the [{self.kind}] head at layer {self.index}")
        return ids

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """None may arrive: a head has nothing to absorb them with."""
        found = torch.cat(list(inputs))
        if bool((found != 0).any()):
            raise self._unfoldable()
        return found
