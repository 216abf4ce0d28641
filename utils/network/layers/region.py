"""The heads of YOLOv2 and Gaussian YOLOv3: `[region]` and `[Gaussian_yolo]` (section 10)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...command.errors import UserError
from ...command.files import require_file
from ...command.later import torch
from ...data.darknet_files import MAX_SMALL_TEXT_BYTES, read_text
from .base import Module, Tensor
from .heads import Head, Yolo, cell_corners, flatten_cells


class Region(Head):
    """`[region]` of v2: anchors in cells, classes as they are, by softmax, or down a tree.

    It has no priors: squared errors of a logistic go nowhere from where it saturates.
    """

    kind = "region"
    loss_kind = "region"
    anchor_unit_px = 32.0  # a cell: v2 nets have a stride of 32 throughout

    def _read_options(self) -> None:
        s = self.section
        if s.integer("coords", 4) != 4:
            raise self.error("must be 4", "coords")
        self.all_anchors = self.read_anchors(s.integer("num", 1))
        self.mask = tuple(range(len(self.all_anchors)))
        self.entries = 5 + self.nc
        self.softmax = s.flag("softmax")
        self.tree = read_tree(self._tree_path()) if s.has("tree") else ()
        if self.tree and len(self.tree) != self.nc:
            raise self.error(f"has {len(self.tree)} nodes for {self.nc} classes", "tree")
        # classfix=-1: cells whose objectness is below one half have no class.
        self.needs_objectness = s.integer("classfix") == -1

    def _tree_path(self) -> Path:
        """As the working directory has it, or the folder of the cfg or one above."""
        name = self.section.text("tree")
        folder = Path(self.section.source).parent
        for path in (Path(name), folder / name, folder.parent / name):
            if path.is_file():
                return path
        raise self.error(f"no such file: {name}", "tree")

    def activate(self, raw: Tensor) -> Tensor:
        """Logistic on the objectness, softmax on the classes if asked; the box stays raw."""
        x = self.split(raw)
        classes = x[:, :, 5:]
        if self.tree:
            classes = torch.cat([part.softmax(2) for part in self._siblings(classes)], 2)
        elif self.softmax:
            classes = classes.softmax(2)
        return torch.cat((x[:, :, :4], x[:, :, 4:5].sigmoid(), classes), 2).flatten(1, 2)

    def _siblings(self, classes: Tensor) -> list[Tensor]:
        """Neighbouring classes with one parent, in order."""
        starts = [k for k in range(self.nc) if k == 0 or self.tree[k] != self.tree[k - 1]]
        ends = [*starts[1:], self.nc]
        return [classes[:, :, a:b] for a, b in zip(starts, ends, strict=True)]

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """Darknet's buffer: its values in the order rows, columns, channels, in the usual shape."""
        x = self.activate(inputs[0])
        return x.permute(0, 2, 3, 1).reshape(x.shape)

    def decode(self, raw: Tensor, input_hw: tuple[int, int]) -> Tensor:
        """x = (logistic(t0) + column) * stride, w = exp(t2) * anchor, anchors in cells."""
        x = self.split(self.activate(raw))
        rows, columns = raw.shape[2:]
        stride = raw.new_tensor([input_hw[1] / columns, input_hw[0] / rows]).view(1, 1, 2, 1, 1)
        anchors = raw.new_tensor(self.all_anchors).view(1, -1, 2, 1, 1)
        xy = (x[:, :, :2].sigmoid() + cell_corners(rows, columns, raw)) * stride
        wh = x[:, :, 2:4].exp() * anchors * stride
        objectness, classes = x[:, :, 4:5], x[:, :, 5:]
        if self.tree:
            classes = self._down_the_tree(classes)
        if self.needs_objectness:
            objectness = objectness * (objectness >= 0.5)
        return flatten_cells(torch.cat((xy, wh, objectness, classes), 2))

    def _down_the_tree(self, classes: Tensor) -> Tensor:
        """Conditional probabilities times those of all ancestors."""
        absolute: list[Tensor] = []
        for k, parent in enumerate(self.tree):
            own = classes[:, :, k]
            absolute.append(own if parent < 0 else own * absolute[parent])
        return torch.stack(absolute, 2)


def read_tree(path: Path) -> tuple[int, ...]:
    """Parent of each class (-1: none), from Darknet's `name parent` lines.

    Raises UserError for a line of another form or a parent that comes after its child.
    """
    parents: list[int] = []
    text = read_text(require_file(path, "the tree"), "a tree of classes", MAX_SMALL_TEXT_BYTES)
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            parent = int(words[1])
        except (IndexError, ValueError):
            raise UserError(f"{path}:{number}: expected 'name parent', got '{line[:40]}'") from None
        if not -1 <= parent < len(parents):
            raise UserError(f"{path}:{number}: parent {parent} does not come before it")
        parents.append(parent)
    return tuple(parents)


class GaussianYolo(Yolo):
    """`[Gaussian_yolo]`: each coordinate with its uncertainty: x, sx, y, sy, w, sw, h, sh."""

    kind = "Gaussian_yolo"
    objectness_entry = 8
    box_entries = slice(0, 8, 2)
    spread_entries = slice(1, 8, 2)

    def _read_options(self) -> None:
        super()._read_options()
        self.entries = 9 + self.nc
        self.point = self.section.text("yolo_point", "center")
        shifts = {"center": 0.0, "left_top": 0.5, "right_bottom": -0.5}
        if self.point not in shifts:
            raise self.error(f"must be one of {', '.join(shifts)}", "yolo_point")
        # Where the point that is decoded lies from the centre, in sizes of the box.
        self.shift = shifts[self.point]

    def activate(self, raw: Tensor) -> Tensor:
        """Logistic on all but width and height; centres are scaled."""
        x = self.split(raw)
        logistic = x.sigmoid()
        scaled = logistic[:, :, 0:3:2] * self.scale_x_y - 0.5 * (self.scale_x_y - 1)
        parts = (
            scaled[:, :, 0:1], logistic[:, :, 1:2], scaled[:, :, 1:2], logistic[:, :, 3:4],
            x[:, :, 4:5], logistic[:, :, 5:6], x[:, :, 6:7], logistic[:, :, 7:],
        )  # fmt: skip
        return torch.cat(parts, 2).flatten(1, 2)

    def decode(self, raw: Tensor, input_hw: tuple[int, int]) -> Tensor:
        """As [yolo]; the objectness is lowered by the mean uncertainty of the box."""
        x = self.split(self.activate(raw))
        rows, columns = raw.shape[2:]
        stride = raw.new_tensor([input_hw[1] / columns, input_hw[0] / rows]).view(1, 1, 2, 1, 1)
        anchors = raw.new_tensor(self.anchors_px).view(1, -1, 2, 1, 1)
        xy = (x[:, :, 0:3:2] + cell_corners(rows, columns, raw)) * stride
        wh = x[:, :, 4:7:2].exp() * anchors
        certainty = 1 - x[:, :, 1:8:2].mean(2, keepdim=True)
        return flatten_cells(
            torch.cat((xy + self.shift * wh, wh, x[:, :, 8:9] * certainty, x[:, :, 9:]), 2)
        )
