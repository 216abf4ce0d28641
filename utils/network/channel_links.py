"""NAME.plan.json: which channels of the full network the channels of a pruned one are.

Pruning writes it beside the pruned cfg. Distillation reads it to compare features channel by
channel, since a pruned student is its teacher minus channels; sparse training, to pull just those
channels of the full network that are missing in the pruned one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..command.errors import UserError
from ..command.files import atomic_write
from ..command.outside.json_file import read_json
from .layers import Layer

FORMAT = 1
_MOST_BYTES = 64 << 20  # of yolov4's plan: 0.2 MB


@dataclass(frozen=True)
class Link:
    """Channel k of the student's layer `layer` is channel `channels[k]` of `teacher_layer`."""

    layer: int
    teacher_layer: int
    channels: tuple[int, ...]


def plan_path(cfg: str | Path) -> Path:
    """Where the plan of a pruned cfg lies."""
    path = Path(cfg)
    return path.with_name(f"{path.stem}.plan.json")


def write_links(path: Path, teacher_cfg: str, links: Sequence[Link]) -> None:
    """Write a plan, whole or not at all."""
    content = {
        "format": FORMAT,
        "cut_from": teacher_cfg,
        "layers": [
            {"layer": link.layer, "of": link.teacher_layer, "channels": list(link.channels)}
            for link in links
        ],
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def read_links(
    path: Path, student: Sequence[Layer] | None, teacher: Sequence[Layer]
) -> Mapping[int, Link]:
    """Links by the student's layer. Raises UserError for a plan of other networks than these.

    Without a student only what the plan says of the teacher is checked.
    """
    content = read_json(path, "the plan of a pruned cfg; prune again to write it", _MOST_BYTES)
    try:
        if content["format"] != FORMAT:
            raise ValueError(content["format"])
        links = [_link(row) for row in content["layers"]]
    except (ValueError, LookupError, TypeError):
        raise UserError(f"{path}: is no plan of a pruned cfg; prune again to write it") from None
    for link in links:
        _require_fit(path, link, student, teacher)
    return {link.layer: link for link in links}


def _link(row: Mapping[str, Any]) -> Link:
    return Link(_whole(row["layer"]), _whole(row["of"]), tuple(map(_whole, row["channels"])))


def _whole(value: object) -> int:
    """Raises ValueError for what JSON does not write as a whole number."""
    if type(value) is not int:
        raise ValueError(value)
    return value


def _require_fit(
    path: Path, link: Link, student: Sequence[Layer] | None, teacher: Sequence[Layer]
) -> None:
    fits = 0 <= link.teacher_layer < len(teacher) and all(
        0 <= channel < teacher[link.teacher_layer].shape[0] for channel in link.channels
    )
    if fits and student is not None:
        fits = 0 <= link.layer < len(student) and len(link.channels) == student[link.layer].shape[0]
    if not fits:
        other = "student or teacher than --cfg and --t-cfg" if student else "network than --cfg"
        raise UserError(
            f"{path}: layer {link.layer} does not fit: the plan of another {other}; name its own"
        )
