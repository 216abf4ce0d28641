"""How unequal the gammas of batch normalisation are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def gini(values: NDArray[np.float64]) -> float:
    """Gini index of numbers >= 0: 0 when all are equal, towards 1 when one has everything."""
    ordered = np.sort(values)
    total = ordered.sum()
    if not total > 0:
        return 0.0
    count = len(ordered)
    ranks = np.arange(1, count + 1) - (count + 1) / 2
    return float(2 * (ranks * ordered).sum() / (count * total))
