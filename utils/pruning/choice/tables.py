"""What a plan does, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...command.table import table
from ..blocks import ResidualBlock
from ..importance.scores import Scores
from ..plan import PrunePlan, block_score


def block_table(
    plan: PrunePlan,
    scores: Scores,
    blocks: Sequence[ResidualBlock],
    reasons: Mapping[int, str],
    importance: str = "|gamma|",
) -> str:
    """One row per shortcut, the least first: its score, and what happens to it."""
    ranked = sorted(blocks, key=lambda block: block_score(plan, scores, block))
    rows = [["shortcut", f"mean {importance}", "layers", ""]]
    for block in ranked:
        span = f"{block.layers[0]}..{block.layers[-1]}"
        left = "" if block.activation == "linear" else f", its {block.activation} stays"
        fate = f"removed{left}" if block in plan.dropped else ""
        rows.append([str(block.shortcut), f"{block_score(plan, scores, block):.6f}", span, fate])
    rows += [[str(index), "", "", f"stays: {why}"] for index, why in reasons.items()]
    return table(rows)


def kept_table(plan: PrunePlan) -> str:
    """One row per convolution: channels before and after, and why some had to stay."""
    rows = [["layer", "channels", "kept", "cannot go because"]]
    total = kept_total = 0
    for index, classes in sorted(plan.graph.issued.items()):
        kept = plan.kept_count(index)
        total, kept_total = total + len(classes), kept_total + kept
        reason = plan.candidates.reasons.get(index, "") if kept else "removed with its block"
        rows.append([str(index), str(len(classes)), str(kept), reason])
    rows.append(["all", str(total), str(kept_total), ""])
    share = (total - kept_total) / total
    said = f"{total - kept_total} of {total} channels go ({share:.1%})"
    if not any(row[3] for row in rows[1:]):
        rows = [row[:3] for row in rows]
    return f"{table(rows, right=(0, 1, 2))}\n{said}"
