"""Detection heads: what their channels mean and how they become boxes (dialect: section 10)."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from ...cfg import Section, set_option
from ...command.later import torch
from .base import Layer, Module, Params, Shape, Tensor, UnfoldableError
from .ties import Ids, Mask, Ties

logger = logging.getLogger(__name__)

Anchors = tuple[tuple[float, float], ...]

_MOST_ANCHORS = 10_000  # the largest of the zoo has 20
OBJECTNESS_PRIOR = 0.01  # share of anchors with an object, as RetinaNet's prior (arXiv:1708.02002)


class Head(Layer):
    """A layer whose input is a detector's raw output, (B, anchors * entries, H, W)."""

    nc: int  # number of classes
    mask: tuple[int, ...]  # which of all anchors it uses
    all_anchors: Anchors  # width, height, in `anchor_unit_px`
    anchor_unit_px: float = 1.0
    entries: int  # numbers per anchor: box, objectness, classes
    objectness_entry = 4  # which of them is the objectness
    scores_objects: bool = True  # whether it has an objectness beside the classes
    answers: bool = True  # or it only trains the layers that it reads
    loss_kind: str = ""  # which loss of utils/training/losses trains it; '': none does

    def infer_shape(self) -> Shape:
        """Reads classes and anchors; the channels must be exactly anchors * entries."""
        self.nc = self.section.integer("classes", 20)
        if self.nc < 1:
            raise self.error(f"must be at least 1, got {self.nc}", "classes")
        self._read_options()
        wanted = len(self.mask) * self.entries
        if self.inputs[0][0] != wanted:
            raise self.error(
                f"needs {wanted} channels ({len(self.mask)} anchors x {self.entries}) but reads "
                f"{self.inputs[0][0]}; set filters={wanted} in the convolution before it"
            )
        return self.inputs[0]

    def read_anchors(self, num: int) -> Anchors:
        """`num` of the list `anchors=`; what is missing there is .5, as in Darknet."""
        given = self.section.numbers("anchors")
        if num > _MOST_ANCHORS or len(given) > 2 * _MOST_ANCHORS:
            raise self.error(f"more than {_MOST_ANCHORS} anchors", "num")
        flat = (*given[: 2 * num], *(0.5,) * (2 * num - len(given)))
        return tuple(zip(flat[::2], flat[1::2], strict=True))

    @abstractmethod
    def _read_options(self) -> None:
        """Set `mask`, `all_anchors` and `entries` from the section."""

    def filters_for(self, nc: int) -> dict[int, int]:
        """Layer -> the filters that it needs for `nc` classes."""
        return {self.sources[0]: (self.entries - self.nc + nc) * len(self.mask)}

    def section_for(self, nc: int) -> Section:
        """Its section for `nc` classes."""
        return set_option(self.section, "classes", nc)

    @property
    def all_anchors_px(self) -> Anchors:
        """Every anchor of the section: width, height in network pixels."""
        unit = self.anchor_unit_px
        return tuple((width * unit, height * unit) for width, height in self.all_anchors)

    @property
    def anchors_px(self) -> Anchors:
        """The anchors of this head: width, height in network pixels."""
        found = self.all_anchors_px
        return tuple(found[k] for k in self.mask)

    def answers_as(self, other: Head, factor: float = 1.0) -> bool:
        """Whether a raw value of `other` means what one of its own does, number by number.

        The input of `other` is `factor` times as large, and shows the same.
        """
        return False

    def set_priors_(self, source: int, bias: Tensor) -> None:
        """Set the bias of the convolution `source` that it reads, so that it sees background."""

    @abstractmethod
    def activate(self, raw: Tensor) -> Tensor:
        """Darknet's `l.output`: the raw channels after its in-place activation, same shape."""

    @abstractmethod
    def decode(self, raw: Tensor, input_hw: tuple[int, int]) -> Tensor:
        """(B, n*H*W, 5 + nc): xywh in input pixels, objectness, class probabilities.

        Rows are ordered by cell (row by row), then by anchor.
        """

    def raw(self, inputs: Sequence[Tensor]) -> Tensor:
        """What `decode` and the loss take, from the values of its sources."""
        return inputs[0]

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """Darknet's `l.output`."""
        return self.activate(inputs[0])

    def split(self, x: Tensor) -> Tensor:
        """(B, n*entries, H, W) as (B, n, entries, H, W)."""
        return x.view(x.shape[0], len(self.mask), -1, *x.shape[2:])

    def traits(self) -> str:
        """Anchors and classes."""
        return f"{len(self.mask)} anchors, {self.nc} classes"

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """Each channel means something: none can go."""
        ties.pin(inputs[0], f"read by the [{self.kind}] head at layer {self.index}")
        return inputs[0]

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """None may arrive: a head has nothing to absorb them with."""
        if bool((inputs[0] != 0).any()):
            raise self._unfoldable()
        return inputs[0]

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """None may arrive."""
        found = np.concatenate(inputs)
        if found.any():
            raise self._unfoldable()
        return found

    def _unfoldable(self) -> UnfoldableError:
        return UnfoldableError(f"a constant reaches the [{self.kind}] head")


class Yolo(Head):
    """`[yolo]` of v3 and v4.

    shift: where the decoded point lies, in sizes of the box to the left of and above its centre.
    """

    kind = "yolo"
    loss_kind = "yolo"
    shift: float = 0.0
    box_entries = slice(0, 4)  # x, y, w, h among the numbers of an anchor
    spread_entries: slice | None = None  # how unsure each of them is, if the head says so

    def _read_options(self) -> None:
        s = self.section
        num, listed = s.integer("num", 1), len(s.numbers("anchors")) // 2
        self.mask = s.integers("mask", tuple(range(min(num, _MOST_ANCHORS))))
        if self.mask and num <= max(self.mask) < listed:
            # Darknet reads the whole list into its memory, and such files exist.
            logger.warning(
                "%s: [%s] num=%d, but mask= names more of the %d anchors: the list counts",
                s.where("num"), self.kind, num, listed,
            )  # fmt: skip
            num = listed
        self.all_anchors = self.read_anchors(num)
        if not self.mask or not all(0 <= k < num for k in self.mask):
            raise self.error(f"must name anchors 0..{num - 1}, got {self.mask}", "mask")
        self.scale_x_y = s.number("scale_x_y", 1.0)
        self.new_coords = s.flag("new_coords")
        self.entries = 5 + self.nc

    def answers_as(self, other: Head, factor: float = 1.0) -> bool:
        """With the same grid, anchors and classes, and the same way to put them."""
        return (
            isinstance(other, Yolo)
            and type(self) is type(other)
            and self.shape == other.shape
            and self.nc == other.nc
            and self.new_coords == other.new_coords
            and all(
                abs(a - b / factor) <= 0.5
                for a, b in zip(self._sides(), other._sides(), strict=True)
            )
        )

    def _sides(self) -> list[float]:
        return [side for k in self.mask for side in self.all_anchors[k]]

    def set_priors_(self, source: int, bias: Tensor) -> None:
        """Objectness at its prior, each class at 1 / nc; `bias` (n * entries,)."""
        entries = bias.view(len(self.mask), self.entries)
        entries[:, self.objectness_entry] = logit(OBJECTNESS_PRIOR)
        # A single class is certain: leave it where its gradient is already small.
        entries[:, self.entries - self.nc :] = logit(min(1 / self.nc, 0.9))

    def activate(self, raw: Tensor) -> Tensor:
        """Logistic on all but width and height (none with new_coords); centres are scaled."""
        x = self.split(raw)
        if self.new_coords:
            xy, wh, rest = x[:, :, :2], x[:, :, 2:4], x[:, :, 4:]
        else:
            xy, wh, rest = x[:, :, :2].sigmoid(), x[:, :, 2:4], x[:, :, 4:].sigmoid()
        xy = xy * self.scale_x_y - 0.5 * (self.scale_x_y - 1)
        return torch.cat((xy, wh, rest), 2).flatten(1, 2)

    def decode(self, raw: Tensor, input_hw: tuple[int, int]) -> Tensor:
        """X = (v0 + column) * stride; w = exp(v2) * anchor, or 4 v2^2 * anchor (new_coords)."""
        x = self.split(self.activate(raw))
        rows, columns = raw.shape[2:]
        cells = cell_corners(rows, columns, raw)
        stride = raw.new_tensor([input_hw[1] / columns, input_hw[0] / rows])
        anchors = raw.new_tensor(self.anchors_px).view(1, -1, 2, 1, 1)
        xy = (x[:, :, :2] + cells) * stride.view(1, 1, 2, 1, 1)
        raw_wh = x[:, :, 2:4]
        wh = (4 * raw_wh**2 if self.new_coords else raw_wh.exp()) * anchors
        return flatten_cells(torch.cat((xy, wh, x[:, :, 4:]), 2))


def logit(probability: float) -> float:
    """The number whose logistic this is."""
    return math.log(probability / (1 - probability))


def cell_corners(rows: int, columns: int, like: Tensor) -> Tensor:
    """(2, rows, columns): column and row number of each cell."""
    y, x = torch.meshgrid(
        torch.arange(rows, device=like.device, dtype=like.dtype),
        torch.arange(columns, device=like.device, dtype=like.dtype),
        indexing="ij",
    )
    return torch.stack((x, y))


def flatten_cells(x: Tensor) -> Tensor:
    """(B, n, entries, H, W) as (B, H*W*n, entries)."""
    return x.permute(0, 3, 4, 1, 2).flatten(1, 3)


def require_heads_fit(heads: Sequence[Head]) -> None:
    """Raise CfgError, naming the head, where heads do not belong in one network.

    They are made for different numbers of classes, or the last one, by which all commands choose
    their NMS, does not answer.
    """
    if heads and not heads[-1].answers:
        raise heads[-1].error("the heads that answer must come after those that only train")
    for head in heads[1:]:
        first = heads[0]
        if head.nc != first.nc:
            raise head.error(
                f"is made for {head.nc} classes, but the head at {first.section.where('classes')} "
                f"for {first.nc}: give all heads the same classes= (and filters= before them), or "
                "let make_cfg.py do both",
                "classes",
            )
