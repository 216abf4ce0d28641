"""`[normalization]` of one channel: x (kappa + alpha x^2)^-beta.

With more channels Darknet's running window (dialect: section 5) skips one, so that its result
means nothing; no detector uses it. With one channel it is a power, as YOLOv8's box decoding needs.
"""

from __future__ import annotations

from collections.abc import Sequence

from .base import Layer, Params, Shape, apply_to_removed, carried_by_removed
from .tensors import Module, Tensor
from .ties import Mask

_SIZES_WITH_OWN_CHANNEL = (2, 3)  # of 1 the window is empty, of 4 it reads beyond the channel


class Normalization(Layer):
    """A power of each value."""

    kind = "normalization"

    def infer_shape(self) -> Shape:
        """Unchanged; exactly one channel."""
        s = self.section
        if self.inputs[0][0] != 1:
            raise self.error(
                "not supported with more than one channel: Darknet's running window skips one, "
                "so its result means nothing"
            )
        if s.integer("size", 5) not in _SIZES_WITH_OWN_CHANNEL:
            raise self.error(f"must be one of {_SIZES_WITH_OWN_CHANNEL} for one channel", "size")
        self.alpha = s.number("alpha", 0.0001)
        self.beta = s.number("beta", 0.75)
        self.kappa = s.number("kappa", 1.0)
        return self.inputs[0]

    def _power(self, x: Tensor) -> Tensor:
        return x * (self.kappa + self.alpha * x.square()) ** -self.beta

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """(B, 1, H, W)."""
        return self._power(inputs[0])

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """The power of a removed channel's."""
        return apply_to_removed(inputs[0], kept, self._power, self.kind)

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """Those of removed channels."""
        return carried_by_removed(inputs, kept, self.kind)
