"""`--amount`: one share for all, or one per kind of layer."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..command.cli import ratio
from ..command.errors import UserError
from .targets import Target


@dataclass(frozen=True)
class Amounts:
    """The share of a round: `everywhere`, or `by_kind` (other kinds are left alone)."""

    everywhere: float | None = None
    by_kind: Mapping[str, float] = field(default_factory=dict)

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


def require_known_kinds(amounts: Amounts, targets: Sequence[Target]) -> None:
    """Raise UserError for an amount of a kind that is not among the targets."""
    kinds = sorted({target.kind for target in targets})
    for kind in amounts.by_kind:
        if kind not in kinds:
            raise UserError(
                f"--amount {kind}=...: no such layers are to be masked; there are: "
                f"{', '.join(kinds)}"
            )
