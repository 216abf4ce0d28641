"""Networks with two sets of heads: one answers, the other only trains what both read.

YOLOv10 (Wang et al., arXiv:2405.14458, section 3.1) and YOLO26 are trained so: heads that take many
anchors for an object teach the features much, and need NMS; heads that take one need none. The
latter answer. They read the features without a gradient to them, and learn what these hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..cfg import Cfg, Section, drop_layers, read_note, replace_layers, with_note
from ..cfg.head_note import HEAD_NOTE
from .cost import count_parameters
from .layers import INPUT, Head, Layer, build_layers


def has_two_sets(rules: Iterable[Layer]) -> bool:
    """Whether some heads only train."""
    return any(isinstance(rule, Head) and not rule.answers for rule in rules)


def two_sets_line(rules: Sequence[Layer]) -> str:
    """What a user should know of such a network, and how to get it without; '' for any other."""
    only_train = own_layers(rules, answering=False)
    if not only_train or not has_two_sets(rules):
        return ""
    count = count_parameters([rules[index] for index in sorted(only_train)])
    return (
        f"two sets of heads, trained together: one answers, the other, {count:,} parameters, only "
        "trains what both read; val.py, detect.py and export.py leave it out, Darknet and OpenCV "
        "would not: translate.py --cfg writes the network without it"
    )


def own_layers(rules: Sequence[Layer], answering: bool) -> frozenset[int]:
    """The layers that the heads of one set read and those of the other do not, with these heads."""
    heads = [rule for rule in rules if isinstance(rule, Head)]
    mine, others = (
        _read_by(rules, [head.index for head in heads if head.answers is wanted])
        for wanted in (answering, not answering)
    )
    return frozenset(mine - others)


def detached_sources(rules: Sequence[Layer]) -> dict[int, frozenset[int]]:
    """Layer -> which of its sources it reads without a gradient to them in training.

    Those are where the answering heads' own layers begin; none without heads that only train.
    """
    if not has_two_sets(rules):
        return {}
    own = own_layers(rules, answering=True)
    found = {i: frozenset(s for s in rules[i].sources if s not in own and s != INPUT) for i in own}
    return {i: sources for i, sources in found.items() if sources}


def one_set(cfg: Cfg, answering: bool = True) -> tuple[Cfg, dict[int, int]]:
    """The cfg with one set of heads, which then answers; and old index -> new index of its layers.

    A cfg with one set stays as it is.
    """
    rules = build_layers(cfg)
    if not has_two_sets(rules):
        return cfg, {rule.index: rule.index for rule in rules}
    heads = [rule for rule in rules if isinstance(rule, Head) and not rule.answers]
    if not answering:
        cfg = replace_layers(cfg, {head.index: _answering(head) for head in heads})
    gone = own_layers(rules, answering=not answering)
    return drop_layers(cfg, {index: index - 1 for index in gone})


def _answering(head: Head) -> Section:
    note = {k: v for k, v in read_note(head.section, HEAD_NOTE).items() if k != "answers"}
    return with_note(head.section, HEAD_NOTE, note)


def _read_by(rules: Sequence[Layer], ends: Iterable[int]) -> set[int]:
    """These layers and all that they read, over however many others."""
    found: set[int] = set()
    waiting = list(ends)
    while waiting:
        index = waiting.pop()
        if index not in found and index != INPUT:
            found.add(index)
            waiting += rules[index].sources
    return found
