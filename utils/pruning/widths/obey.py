"""The plan that a file of widths asks for."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ...cfg import Cfg
from ...command.errors import UserError
from ...network.graph import ChannelGraph
from ..importance.options import Ranking
from ..importance.scores import Scores
from ..plan import Limits, PrunePlan
from ..sensitivity.caps import cfg_hash
from ..sensitivity.groups import find_groups, make_cutter
from ..strategy import ChannelRule
from .allot import Allotter
from .file import Width, read_widths

logger = logging.getLogger(__name__)


def plan_by_widths(
    file: str, cfg: Cfg, graph: ChannelGraph, scores: Scores, rule: ChannelRule, limits: Limits,
    ranking: Ranking,
) -> PrunePlan:  # fmt: skip
    """The plan that keeps as many channels of each group as a file says, the most important.

    Raises UserError for a file of another network, and for widths that cannot be had.
    """
    widths = read_widths(file)
    if widths.cfg_sha256 != cfg_hash(cfg):
        raise UserError(
            f"--widths {file}: is of another network (its cfg differs by sha256); search.py finds "
            "this one's"
        )
    theirs, ours = widths.ranked, (ranking.importance, ranking.normalization)
    if (theirs.importance, theirs.normalize) != ours:
        logger.warning(
            "--widths %s: were found with --importance %s (normalized: %s), this prune ranks by %s "
            "(%s): other channels go than those that were tried",
            file, theirs.importance, theirs.normalize, *ours,
        )  # fmt: skip
    _require_groups(widths.groups, graph)
    allotter = Allotter(make_cutter(graph, scores, rule, dict(limits.excluded)), limits)
    asked = {width.layers: width for width in widths.groups if width.keep < width.channels}
    plan = allotter.exactly(
        {group: asked.pop(group.layers).keep for group in allotter.groups if group.layers in asked}
    )
    for width in asked.values():
        raise UserError(
            f"--widths: layers {width.name} are to keep {width.keep} of {width.channels} channels, "
            "but this script, or its flags, let none of them go"
        )
    kept, whole = (sum(getattr(w, name) for w in widths.groups) for name in ("keep", "channels"))
    print(
        f"Widths: {file} keeps {kept} of {whole} channels in {len(widths.groups)} groups of layers"
    )
    return plan


def _require_groups(widths: Sequence[Width], graph: ChannelGraph) -> None:
    """Raise UserError where the file's groups are none of this network, or of other sizes."""
    sizes = {group.layers: len(group.classes) for group in find_groups(graph)}
    for width in widths:
        if width.layers not in sizes:
            raise UserError(
                f"--widths: names layers {width.name} as a group, which they are not in this "
                "network"
            )
        if width.channels != sizes[width.layers]:
            raise UserError(
                f"--widths: says {width.channels} channels of layers {width.name}, which have "
                f"{sizes[width.layers]}"
            )
