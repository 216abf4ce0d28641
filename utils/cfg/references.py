"""Which keys of a section name other layers, and how their numbers are to be read."""

from __future__ import annotations

from collections.abc import Callable

from .edit import set_option
from .parse import Section

REFERENCE_KEYS: dict[str, tuple[str, ...]] = {
    "convolutional": ("share_index",),
    "route": ("layers",),
    "shortcut": ("from",),
    "sam": ("from",),
    "scale_channels": ("from",),
    "attention": ("from",),
    "contrastive": ("yolo_layer",),
    "yolo": ("embedding_layer",),
}

# Sections whose value does not depend on the layer before them.
_SELF_CONTAINED = frozenset({"route", "implicit", "attention"})


def reads_previous(section: Section) -> bool:
    """Whether the layer's input is the layer before it (and not only what its keys name)."""
    return section.kind not in _SELF_CONTAINED


def references(section: Section, index: int, key: str) -> tuple[int, ...]:
    """Absolute layer indices that `key` of the layer at `index` names.

    A negative number counts back from the layer itself, any other is absolute (0 is layer 0).
    Raises CfgError for a number that does not name an earlier layer.
    """
    found = []
    for number in section.integers(key):
        absolute = index + number if number < 0 else number
        if not 0 <= absolute < index:
            hint = f"layer {index} can name layers 0..{index - 1}" if index else "it is the first"
            raise section.error(f"{number} does not name an earlier layer ({hint})", key)
        found.append(absolute)
    return tuple(found)


def renumber(section: Section, old: int, new: int, move: Callable[[int], int]) -> Section:
    """The section of layer `old`, now at `new`, with each reference passed through `move`.

    A relative reference stays relative, an absolute one absolute.
    """
    for key in REFERENCE_KEYS.get(section.kind, ()):
        if not section.has(key):
            continue
        targets = [move(target) for target in references(section, old, key)]
        numbers = [
            target - new if number < 0 else target
            for number, target in zip(section.integers(key), targets, strict=True)
        ]
        if tuple(numbers) != section.integers(key):
            section = set_option(section, key, ",".join(map(str, numbers)))
    return section
