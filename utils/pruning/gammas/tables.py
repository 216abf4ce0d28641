"""How sparse models are, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from ...command.table import table
from ..importance.sparseness import QUANTILES, Sparseness


def quantile_table(found: Sparseness) -> str:
    """Quantiles of |gamma| and share of free channels, layer by layer."""
    heads = ["min", *(f"{share:.0%}" for share in QUANTILES[1:-1]), "max"]
    rows = [["layer", "channels", *heads, "free"]]
    for layer in found.layers:
        quantiles = [f"{value:.4f}" for value in layer.quantiles]
        rows.append([str(layer.index), str(layer.channels), *quantiles, f"{layer.free:.1%}"])
    return table(rows, right=range(1, len(rows[0])))


def sparseness_table(
    names: Sequence[str], found: Sequence[Sparseness], safe: Sequence[float | None]
) -> str:
    """One row per file of weights; `safe` are the highest ratios that empty no layer."""
    rows = [["weights", "score", "free", "safe", "median", "mean", "in use"]]
    for name, one, ratio in zip(names, found, safe, strict=True):
        figures = [f"{value:.4f}" for value in (one.median, one.mean, one.in_use)]
        shown = "-" if ratio is None else f"{ratio:.4f}"
        rows.append([name, f"{one.score:.3f}", f"{one.free:.4f}", shown, *figures])
    return table(rows, right=range(1, len(rows[0])))
