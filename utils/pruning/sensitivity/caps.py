"""What a sensitivity forbids a prune: how many channels each group keeps at least."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping

from torch import Tensor

from ...cfg import Cfg, plain_text
from ...command.errors import UserError
from ...network.graph import ChannelGraph
from ...network.layers.ties import Ids
from ..importance.options import Ranking
from ..options import SensitivityLimit
from .file import read_sensitivity
from .groups import find_groups
from .record import DROPS, Sensitivity

logger = logging.getLogger(__name__)

Floors = tuple[tuple[Ids, int], ...]


def cfg_hash(cfg: Cfg) -> str:
    """sha256 of a cfg's text in its plain form: where it lies says nothing, nor how lines end."""
    text = plain_text(cfg)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def state_hash(state: Mapping[str, Tensor]) -> str:
    """sha256 of a network's tensors: a .pt and the .weights converted from it have the same."""
    digest = hashlib.sha256()
    for key, tensor in sorted(state.items()):
        digest.update(f"{key} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_caps(
    limit: SensitivityLimit,
    graph: ChannelGraph,
    cfg: Cfg,
    state: Mapping[str, Tensor],
    ranking: Ranking,
) -> tuple[Floors, dict[int, str]]:
    """The floors of the groups that may lose channels, and the layers of all others, with why.

    Raises UserError for a file of another network, and where nothing may go at all.
    """
    found = read_matching(limit.file, cfg, state, ranking)
    floors, excluded = caps(found, graph, limit.max_layer_drop)
    if not floors:
        raise UserError(
            f"--max-layer-drop {limit.max_layer_drop:g}: no group may lose a channel for so little "
            f"({DROPS[found.measure]}); allow more, or measure smaller --shares"
        )
    most, channels = found.allowed(limit.max_layer_drop)
    print(
        f"Sensitivity: {len(floors)} of {len(found.curves)} groups may lose channels for a drop of "
        f"at most {limit.max_layer_drop:g} each ({DROPS[found.measure]}): {most} of {channels} "
        "channels at most"
    )
    return floors, excluded


def read_matching(
    file: str, cfg: Cfg, state: Mapping[str, Tensor], ranking: Ranking
) -> Sensitivity:
    """A file of sensitivity.py; warns where another importance chose what goes.

    Raises UserError for a file of another network.
    """
    found = read_sensitivity(file)
    for what, measured, given in (
        ("cfg", found.cfg_sha256, cfg_hash(cfg)),
        ("weights", found.weights_sha256, state_hash(state)),
    ):
        if measured != given:
            raise UserError(
                f"--sensitivity {file}: was measured of another network (its {what} differ "
                "by sha256); run sensitivity.py on this one"
            )
    theirs, ours = found.ranked, (ranking.importance, ranking.normalization)
    if (theirs.importance, theirs.normalize) != ours:
        logger.warning(
            "--sensitivity %s: was measured with --importance %s (normalized: %s), this command "
            "ranks by %s (%s): other channels may go than those it measured",
            file, theirs.importance, theirs.normalize, *ours,
        )  # fmt: skip
    return found


def caps(found: Sensitivity, graph: ChannelGraph, max_drop: float) -> tuple[Floors, dict[int, str]]:
    """As `read_caps`, of a sensitivity of this very network. Raises UserError for another's."""
    curves = {curve.layers: curve for curve in found.curves}
    floors: list[tuple[Ids, int]] = []
    excluded: dict[int, str] = {}
    for group in find_groups(graph):
        curve = curves.pop(group.layers, None)
        if curve is None:
            excluded |= dict.fromkeys(group.layers, "not in the file of --sensitivity")
            continue
        if curve.channels != len(group.classes):
            raise UserError(
                f"--sensitivity: says {curve.channels} channels of layers {group.name}, which have "
                f"{len(group.classes)}"
            )
        most = curve.most_gone(max_drop)
        if most:
            floors.append((group.classes, len(group.classes) - most))
        else:
            excluded |= dict.fromkeys(group.layers, f"--max-layer-drop {max_drop:g}")
    if curves:
        raise UserError(
            f"--sensitivity: names layers {next(iter(curves.values())).name} as a group, which "
            "they are not in this network"
        )
    return tuple(floors), excluded
