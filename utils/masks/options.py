"""What is masked, how, and how much, as plain values: nothing here needs a tensor."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from ..command.cli import ratio
from ..command.errors import UserError
from ..command.option_values import require_choice, require_count, require_share
from ..detection.options import Inputs, Scoring

MethodName = Literal[
    "l1_unstructured", "random_unstructured", "ln_structured", "random_structured", "custom"
]
Scope = Literal["local", "global"]
ParameterName = Literal["weight", "bias"]


@dataclass(frozen=True)
class Amounts:
    """The share of a round: `everywhere`, or `by_kind` (other kinds are left alone)."""

    everywhere: float | None = None
    by_kind: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for share in (self.everywhere or 0.0, *self.by_kind.values()):
            require_share("--amount", share)

    def __str__(self) -> str:
        """As on the command line, and in file names."""
        if self.everywhere is not None:
            return f"{self.everywhere:g}"
        return ",".join(f"{kind}={share:g}" for kind, share in self.by_kind.items())

    def of(self, kind: str) -> float | None:
        """The share for a kind of layer; None where it is left alone."""
        return self.by_kind.get(kind) if self.everywhere is None else self.everywhere


def parse_amounts(text: str) -> Amounts:
    """`0.3`, or `convolutional=0.2,connected=0.4`; a type for argparse."""
    if "=" not in text:
        return Amounts(ratio(text))
    by_kind: dict[str, float] = {}
    for part in text.split(","):
        kind, _, share = (word.strip() for word in part.partition("="))
        if not kind or not share or kind in by_kind:
            raise argparse.ArgumentTypeError(
                f"must be a share or KIND=SHARE,KIND=SHARE with each kind once, got {text}"
            )
        by_kind[kind] = ratio(share)
    return Amounts(by_kind=by_kind)


@dataclass(frozen=True)
class MaskChoice:
    """Which weights go: the method and its arguments, the share of a round, and where.

    n: norm of ln_structured. dim: of structured methods, 0 outputs, 1 inputs. custom_file: the
    user's own Python for "custom", which is run. layers: index, range (3-20) or kind; none: all
    with a kernel.
    """

    method: MethodName = "l1_unstructured"
    amount: Amounts = field(default_factory=lambda: Amounts(0.3))
    scope: Scope = "local"
    rounds: int = 1
    layers: tuple[str, ...] = ()
    parameters: tuple[ParameterName, ...] = ("weight",)
    n: float = 2
    dim: int = 0
    custom_file: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require_choice("--method", self.method, get_args(MethodName))
        require_choice("--scope", self.scope, get_args(Scope))
        require_count("--rounds", self.rounds)
        require_custom(self.method, self.custom_file)


def require_custom(method: MethodName, file: str | None) -> None:
    """Raise UserError for "custom" without a file, or a file without it."""
    if (method == "custom") != (file is not None):
        raise UserError("--method custom: goes together with --custom-method FILE.py")


@dataclass(frozen=True)
class MaskOptions:
    """A masking: of what, which weights, how it is scored.

    earlier: a .pt whose masks the new ones compose with, in place of those of the weights. force:
    write over files of an earlier run. dry_run: write nothing.
    """

    inputs: Inputs
    choice: MaskChoice = field(default_factory=MaskChoice)
    scoring: Scoring = field(default_factory=Scoring)
    earlier: str | None = None
    force: bool = False
    dry_run: bool = False
