"""`--exclude`, `--only`, `--layers`: layers by index, range or kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..command.errors import UserError
from .graph import ChannelGraph


def excluded_layers(
    graph: ChannelGraph, exclude: Sequence[str], only: Sequence[str]
) -> Mapping[int, str]:
    """Layers with channels of their own that are to be left alone, with the reason.

    Each word is a layer's index (`12`), a range with both ends (`3-20`) or a section kind. Raises
    UserError for a word that names no such layer, or, in `only`, one whose channels cannot go.
    """
    kinds = {index: graph.layers[index].kind for index in graph.issued}
    what = "layer with channels of its own"
    named = {
        flag: named_layers(flag, words, kinds, what)
        for flag, words in (("exclude", exclude), ("only", only))
    }
    for index in named["only"]:
        classes = graph.issued[index].tolist()
        reasons = [graph.pinned[c] for c in classes if c in graph.pinned]
        if len(reasons) == len(classes):
            raise UserError(f"--only {index}: none of its channels can go: {reasons[0]}")
    left_out = dict.fromkeys(named["exclude"], "--exclude")
    if only:
        others = [index for index in graph.issued if index not in named["only"]]
        left_out = {**dict.fromkeys(others, "not in --only"), **left_out}
    return left_out


def named_layers(flag: str, words: Sequence[str], kinds: Mapping[int, str], what: str) -> list[int]:
    """The layers that words mean: `12`, `3-20` with both ends, or a section kind.

    `kinds` are the layers to choose from, with their kinds; `what` says what they are. Raises
    UserError, which names `flag`, for a word that means none of them.
    """
    found: list[int] = []
    for word in words:
        first, dash, last = word.partition("-")
        if first.isdigit() and (last.isdigit() or not dash):
            span = range(int(first), int(last or first) + 1)
            matching = [index for index in kinds if index in span]
        else:
            matching = [index for index, kind in kinds.items() if kind == word]
        if not matching:
            raise UserError(
                f"--{flag} {word}: names no {what}; give an index, a range "
                "such as 3-20, or a kind such as convolutional"
            )
        found.extend(matching)
    return found
