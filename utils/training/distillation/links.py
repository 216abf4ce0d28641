"""Which layers of a student and its teacher a plan links, for the lessons that need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...command.errors import UserError
from ...network.channel_links import Link, plan_path, read_links
from ...network.layers import INPUT, Head, Layer
from .cross import Crossing, crossings
from .options import TeacherOptions


@dataclass(frozen=True)
class Linked:
    """features: layers that `--distill feature` compares; crossings: heads that `cross` enters."""

    features: tuple[Link, ...] = ()
    crossings: tuple[Crossing, ...] = ()

    @property
    def of_student(self) -> tuple[int, ...]:
        """The student's layers whose values are needed."""
        return tuple(sorted({link.layer for link in self._all()}))

    @property
    def of_teacher(self) -> tuple[int, ...]:
        """The teacher's."""
        return tuple(sorted({link.teacher_layer for link in self._all()}))

    def _all(self) -> list[Link]:
        entries = [link for crossing in self.crossings for link in crossing.entry]
        return [*self.features, *entries]


UNLINKED = Linked()


def links_to_teach(
    options: TeacherOptions, cfg: str, rules: Sequence[Layer], teacher: Sequence[Layer]
) -> Linked:
    """What is linked of the student with these layers, whose cfg this is; for what is asked only.

    Raises UserError where there is no plan, and where it links no layer that counts.
    """
    asked = [kind for kind in options.lessons.kinds if kind in ("feature", "cross")]
    if not asked:
        return UNLINKED
    path = Path(options.plan) if options.plan else plan_path(cfg)
    if not path.is_file():
        raise UserError(
            f"--distill {asked[0]}: {path} is not there; the prune scripts write it beside the "
            "pruned cfg (--t-plan names another; --distill response needs none)"
        )
    try:
        links = read_links(path, rules, teacher)
    except UserError as error:
        raise UserError(f"{error} (--distill response needs none)") from None
    features = default_links(links, rules) if "feature" in asked else ()
    if "feature" in asked and not features:
        raise UserError(f"{path}: links none of the layers that end a scale or feed a head")
    return Linked(features, crossings(links, rules, teacher) if "cross" in asked else ())


def default_links(links: Mapping[int, Link], rules: Sequence[Layer]) -> tuple[Link, ...]:
    """The last layer of each scale, and what the heads' last convolutions read."""
    before_heads = {source for rule in rules if isinstance(rule, Head) for source in rule.sources}
    chosen = {source for index in before_heads for source in rules[index].sources}
    for rule in rules:
        for source in rule.sources:
            if source != INPUT and rules[source].shape[1:] != rule.shape[1:]:
                chosen.add(source)
    return tuple(links[index] for index in sorted(chosen) if index in links)
