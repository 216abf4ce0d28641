"""Sections that `load_darknet` of Rockchip's RKNN toolkit computes otherwise, or refuses.

What is wrong or refused was found by networks of one layer in the toolkit's simulator
(rknn-toolkit2 2.5.0, rk3588) against ours: what is "wrong" there returns code 0 at every step. What
is "untried" was not run. By ONNX all that were run are right, so that is the way; `load_darknet` is
what users of a cfg reach for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from ...cfg import Cfg, Section

Verdict = Literal["wrong", "refused", "untried"]

_RIGHT = ("leaky", "mish", "linear")
_BECOME_LINEAR = ("relu", "swish", "logistic", "elu", "selu", "tanh")
_TRIED = (
    "convolutional", "maxpool", "avgpool", "upsample", "route", "shortcut", "yolo", "dropout",
)  # fmt: skip
_TRIED_POOLS = ((2, 1), (3, 1), (2, 2), (3, 2))  # size, stride


@dataclass(frozen=True)
class Rule:
    """A kind of section, when it is hit, and what becomes of it then."""

    kinds: tuple[str, ...]
    hit: Callable[[Section], bool]
    verdict: Verdict
    what: str


def _activation(section: Section) -> str:
    return section.text("activation", "logistic" if section.kind == "convolutional" else "linear")


def _pool(section: Section) -> tuple[int, int]:
    stride = section.integer("stride", 1)
    return section.integer("size", stride), stride


RULES = (
    Rule(("convolutional",), lambda s: _activation(s) in _BECOME_LINEAR, "wrong",
         "its activation becomes linear"),
    Rule(("convolutional",), lambda s: _activation(s) == "relu6", "refused",
         "relu6 ends in a ValueError"),
    Rule(("convolutional",), lambda s: _activation(s) not in (*_RIGHT, *_BECOME_LINEAR, "relu6"),
         "untried", "its activation"),
    Rule(("shortcut",), lambda s: _activation(s) not in ("linear", "leaky"), "untried",
         "its activation"),
    Rule(("convolutional",), lambda s: s.integer("dilation", 1) > 1, "wrong",
         "dilation is ignored"),
    Rule(("convolutional",), lambda s: s.integer("groups", 1) > 1, "refused",
         "weights are read as those of one group (buffer is too small for requested array)"),
    Rule(("convolutional",), lambda s: s.has("padding") and not s.has("pad"), "refused",
         "padding= without pad= ends in a KeyError"),
    Rule(("upsample",), lambda s: s.number("scale", 1.0) != 1, "wrong", "scale= is ignored"),
    Rule(("maxpool",), lambda s: _pool(s) == (3, 2), "wrong", "size 3 at stride 2"),
    Rule(("maxpool",), lambda s: _pool(s) not in _TRIED_POOLS, "untried", "its size and stride"),
    Rule(("dropout",), lambda s: True, "refused", "not supported"),
)  # fmt: skip

_SAID: dict[Verdict, str] = {
    "wrong": "WRONG without a word",
    "refused": "refused",
    "untried": "not tried here",
}


@dataclass(frozen=True)
class Found:
    """A layer that a rule hits, with the line of the cfg where it starts."""

    layer: int
    kind: str
    line: int
    verdict: Verdict
    what: str

    def __str__(self) -> str:
        """One line."""
        where = f"layer {self.layer} [{self.kind}], line {self.line}"
        return f"{where}: {_SAID[self.verdict]}: {self.what}"


def hits(cfg: Cfg) -> list[Found]:
    """Every layer of a cfg that load_darknet does not compute as Darknet does, by what is known."""
    return [found for index, section in enumerate(cfg.layers) for found in _of(index, section)]


def _of(index: int, section: Section) -> Iterable[Found]:
    def told(verdict: Verdict, what: str) -> Found:
        return Found(index, section.kind, section.lines[0].number, verdict, what)

    if section.kind not in _TRIED:
        yield told("untried", "this kind of section")
    for rule in RULES:
        if section.kind in rule.kinds and rule.hit(section):
            yield told(rule.verdict, rule.what)
