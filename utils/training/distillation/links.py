"""Which layers of a student and its teacher `--distill feature` compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...command.errors import UserError
from ...network.channel_links import Link, plan_path, read_links
from ...network.layers import INPUT, Head, Layer
from .options import TeacherOptions


def links_to_teach(
    options: TeacherOptions, cfg: str, rules: Sequence[Layer], teacher: Sequence[Layer]
) -> tuple[Link, ...]:
    """The links of the student with these layers, whose cfg this is; none without "feature".

    Raises UserError where there is no plan, and where it links no layer that counts.
    """
    if "feature" not in options.lessons.kinds:
        return ()
    path = Path(options.plan) if options.plan else plan_path(cfg)
    if not path.is_file():
        raise UserError(
            f"--distill feature: {path} is not there; the prune scripts write it beside the "
            "pruned cfg (--t-plan names another; --distill 1 and 2 need none)"
        )
    links = default_links(read_links(path, rules, teacher), rules)
    if not links:
        raise UserError(f"{path}: links none of the layers that end a scale or feed a head")
    return links


def default_links(links: Mapping[int, Link], rules: Sequence[Layer]) -> tuple[Link, ...]:
    """The last layer of each scale, and what the heads' last convolutions read."""
    before_heads = {source for rule in rules if isinstance(rule, Head) for source in rule.sources}
    chosen = {source for index in before_heads for source in rules[index].sources}
    for rule in rules:
        for source in rule.sources:
            if source != INPUT and rules[source].shape[1:] != rule.shape[1:]:
                chosen.add(source)
    return tuple(links[index] for index in sorted(chosen) if index in links)
