"""What a processor makes of an int8 file, against the same graph computed in float.

Both round the same values; they may differ where a value lies half-way, and where integers do not
have the room that their sums need, which nothing else would tell.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .integer_errors import IntegerErrors
from .run import OnnxNetwork


@torch.no_grad()
def integer_errors(path: Path, images: Tensor, in_float: Tensor) -> IntegerErrors:
    """The mean differences of an int8 file's outputs on some images, box by box.

    in_float: (B, N, 5 + nc), what the network gives without any rounding.
    """
    as_integers = OnnxNetwork(path)(images)
    same_graph = OnnxNetwork(path, optimized=False)(images)
    return errors_between(as_integers, same_graph, in_float)


def errors_between(as_integers: Tensor, same_graph: Tensor, in_float: Tensor) -> IntegerErrors:
    """Of predictions (B, N, 5 + nc): what integers cost, beside what the rounding costs."""
    runtime = [_means(as_integers, same_graph), _means(same_graph, in_float)]
    boxes, scores = (tuple(pair) for pair in zip(*runtime, strict=True))
    return IntegerErrors((boxes[0], boxes[1]), (scores[0], scores[1]))


def _means(found: Tensor, expected: Tensor) -> tuple[float, float]:
    """Mean difference of the boxes in pixels, and of the scores."""
    moved = (found[..., :4] - expected[..., :4]).abs().mean()
    scores = (x[..., 4:5] * x[..., 5:] for x in (found, expected))
    return float(moved), float(next(scores).sub(next(scores)).abs().mean())
