"""The loss of two sets of heads, one of which answers: both learn from the same targets.

The set that only trains counts most at first and least at last, as in ultralytics' training of
YOLOv10 and YOLO26: from .8 to .1 of the whole, falling from epoch to epoch in equal steps. That the
answering heads leave the features alone is the network's doing (network/two_sets.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ...network.layers import Dfl
from ..optimization.ranks import Ranks
from .dfl_loss import DflLoss
from .options import LossOptions
from .truth import Truth

FIRST_SHARE, LAST_SHARE = 0.8, 0.1
_EVEN = 0.5  # where no training is going on: both sets count, in their channels' scores say


class TwoSetsLoss:
    """Callable as `DflLoss`: the weighted sum of both sets' parts, under their names."""

    def __init__(
        self,
        heads: Sequence[Dfl],
        options: LossOptions,
        ranks: Ranks | None = None,
        share: float = _EVEN,
    ) -> None:
        """`share`: the weight of the heads that only train; the others have the rest."""
        self._all = heads, options, ranks
        self._share = share
        self._answers = [head.answers for head in heads]
        self._answering, self._training = (
            DflLoss([head for head in heads if head.answers is wanted], options, ranks)
            for wanted in (True, False)
        )

    def at(self, done: float) -> TwoSetsLoss:
        """With the weights at a point of the training, 0 in its first epoch, 1 in its last."""
        return TwoSetsLoss(*self._all, FIRST_SHARE + done * (LAST_SHARE - FIRST_SHARE))

    def __call__(self, raw: Sequence[Tensor], truth: Truth) -> dict[str, Tensor]:
        """`raw`: (B, 4 * reg_max + nc, H, W) per head, in the heads' order."""
        parts = []
        for loss, wanted in ((self._training, False), (self._answering, True)):
            pairs = zip(self._answers, raw, strict=True)
            parts.append(loss([x for answers, x in pairs if answers is wanted], truth))
        mine, others = self._share, 1 - self._share
        return {name: mine * parts[0][name] + others * parts[1][name] for name in parts[0]}


def dfl_loss(
    heads: Sequence[Dfl], options: LossOptions, ranks: Ranks | None = None
) -> DflLoss | TwoSetsLoss:
    """The loss of heads without anchors, in one set or two.

    Raises CfgError for heads that do not belong together.
    """
    kind = DflLoss if len({head.answers for head in heads}) == 1 else TwoSetsLoss
    return kind(heads, options, ranks)
