"""`[attention]`: every cell sums the values of all cells, by how its query meets their keys.

A section of our own, for YOLOv10, 11, 12 and 26; neither Darknet nor OpenCV's importer knows it.

    [attention]
    from=-3,-2,-1      # queries, keys, values: three layers of one size
    heads=2            # equal parts of their channels that attend apart
    area=1             # equal bands of cells, in the order of rows, that attend apart
    scale=0.1767766952966369

Of each head and band: out[:, m] = sum_n softmax_n(scale * sum_d q[d, m] k[d, n]) v[:, n]
(Vaswani et al., "Attention Is All You Need", NIPS 2017). `scale` stays a number when channels go:
it came from how many there were.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...cfg import Section, references
from ...command.later import torch
from .base import WHOLE, Layer, Module, Params, Shape, Tensor, UnfoldableError, Window
from .ties import Ids, Mask, Ties


class Attention(Layer):
    """Scaled dot-product attention over cells; no parameters of its own."""

    kind = "attention"
    sums_by_batch = True
    only_by_onnx = "neither Darknet nor OpenCV's cfg importer has [attention]"

    @classmethod
    def read_sources(cls, section: Section, index: int) -> tuple[int, ...]:
        """`from`: queries, keys, values."""
        found = references(section, index, "from")
        if len(found) != 3:
            raise section.error("must name three layers: queries, keys, values", "from")
        return found

    def infer_shape(self) -> Shape:
        """That of the values; each head's channels and each band's cells must be as many."""
        self.heads = self.section.integer("heads", 1)
        self.area = self.section.integer("area", 1)
        if min(self.heads, self.area) < 1:
            raise self.error("heads and area must be at least 1")
        if not self.section.has("scale"):
            raise self.error("must be given: it does not follow from the channels", "scale")
        self.scale = self.section.number("scale")
        self.require_same_size(self.inputs)
        queries, keys, (channels, height, width) = self.inputs
        if queries[0] != keys[0]:
            raise self.error(f"{queries[0]} channels of queries meet {keys[0]} of keys", "from")
        for what, count in (("keys", keys[0]), ("values", channels)):
            if count % self.heads:
                raise self.error(f"{count} channels of {what} do not divide by it", "heads")
        if height * width % self.area:
            raise self.error(f"{width}x{height} cells do not divide by it", "area")
        return channels, height, width

    def traits(self) -> str:
        """Heads, and bands if there are several."""
        heads = f"{self.heads} head{'s' if self.heads > 1 else ''}"
        return f"{heads}, {self.area} areas" if self.area > 1 else heads

    @property
    def paired(self) -> tuple[int, int]:
        """Queries and keys; what is constant in the keys tells no cell from another."""
        return self.sources[0], self.sources[1]

    def macs(self) -> int:
        """Every cell with every one of its band: once for the keys, once for the values."""
        channels, height, width = self.shape
        cells = height * width
        return cells * (cells // self.area) * (self.inputs[0][0] + channels)

    def window(self, axis: int, source: int) -> Window:
        """One query; all keys and values (of its band, that is)."""
        return WHOLE if source else Window()

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(B, C, H, W) of the values.

        Images, bands and heads are one dimension: products of three-dimensional tensors pass
        through every exporter, others do not.
        """
        queries, keys, values = (self._apart(x) for x in inputs)
        weights = (torch.bmm(queries.transpose(1, 2), keys) * self.scale).softmax(2)
        mixed = torch.bmm(values, weights.transpose(1, 2))
        batch, channels, height, width = inputs[2].shape
        if self.area > 1:
            cells = height * width // self.area
            mixed = mixed.reshape(batch, self.area, channels, cells).transpose(1, 2)
        return mixed.reshape(batch, channels, height, width)

    def _apart(self, x: Tensor) -> Tensor:
        """(B, C, H, W) as (B * area * heads, C / heads, cells of a band)."""
        batch, channels, height, width = x.shape
        cells = height * width // self.area
        if self.area > 1:
            x = x.reshape(batch, channels, self.area, cells).transpose(1, 2)
        return x.reshape(batch * self.area * self.heads, channels // self.heads, cells)

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """A query's channel goes with the key's; the values' are handed on; heads stay equal.

        Where the keys' channel is constant the pair adds the same to all cells of a sum, which
        softmax does not see: it goes exactly, whatever the query was.
        """
        queries, keys, values = inputs
        ties.unite(queries, keys)
        for ids in (queries, values):
            if self.heads > 1:
                ties.keep_parts_equal(ids.reshape(self.heads, -1))
        return values

    def require_carried(self, carried: Sequence[Mask], keeps: Sequence[Mask]) -> None:
        """An offset on a kept query turns keys into biases; on keys it changes nothing."""
        if (carried[0] & keeps[0]).any():
            raise UnfoldableError("a constant on a kept channel meets the keys of [attention]")

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """The values': weights that sum to 1 leave a constant what it is."""
        return inputs[2]

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """The values'."""
        return inputs[2]
