"""The kinds of importance by name, with what a score of each means; nothing here needs a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ...command.option_values import require_choice, require_count

Kind = Literal["bn", "bn-act", "l1", "l2", "fpgm", "taylor", "obd", "lamp", "group", "random"]
Normalization = Literal["layer", "global", "none"]
ShapeCost = Literal["params", "macs"]
Cost = Literal["params", "macs", "latency"]
Among = Literal["global", "isomorphic", "layer"]
OfPair = Literal["varying", "both known", "second", "sum", "each"]
Measured = Literal["weights", "batches", "images"]


@dataclass(frozen=True)
class Importance:
    """One kind: what a score is, and how layers are made comparable unless a user says so.

    pair: what two channels score that are multiplied, as queries and keys are (see `pairs`).
    measured: on what: nothing but the weights, or the loss of batches or single images.
    """

    meaning: str
    normalization: Normalization = "none"
    pair: OfPair = "varying"
    measured: Measured = "weights"


# A sum over a kernel grows with the kernel's size, and a sum of distances with the layer's too:
# without a common scale whole layers would go before the first channel of others.
IMPORTANCES: dict[Kind, Importance] = {
    "bn": Importance("|gamma|"),
    "bn-act": Importance("E|activation|", pair="both known"),
    "l1": Importance("kernel's L1 norm", "layer"),
    "l2": Importance("kernel's L2 norm", "layer"),
    "fpgm": Importance("distance to the other kernels", "layer"),
    "taylor": Importance("|gamma dL/dgamma|", pair="second", measured="batches"),
    "obd": Importance("1/2 w^2 F of all weights that go", pair="sum", measured="images"),
    "lamp": Importance("LAMP score"),
    "group": Importance("norm of all weights that go", "layer", pair="sum"),
    "random": Importance("random number", pair="each"),
}


_UNITS: dict[Cost, str] = {"params": "parameter", "macs": "MAC", "latency": "millisecond"}
_POOLS: dict[Among, str] = {
    "isomorphic": "groups with the same structure",
    "layer": "the same group of layers",
}


@dataclass(frozen=True)
class Ranking:
    """What ranks the channels.

    normalize: how the scores of different layers are made comparable; None: as `importance` needs.
    taylor_batches: training batches that "taylor" and "obd" average over. per: what a channel's
    importance is divided by, as much of it as its removal saves; None: by nothing. among: which
    channels are ranked against each other: all, those of groups of layers with the same structure,
    or those of one group; of each such pool the same share goes.
    """

    importance: Kind = "bn"
    normalize: Normalization | None = None
    taylor_batches: int = 16
    per: Cost | None = None
    among: Among = "global"

    def __post_init__(self) -> None:
        require_choice("--importance", self.importance, tuple(IMPORTANCES))
        if self.normalize is not None:
            require_choice("--normalize", self.normalize, get_args(Normalization))
        if self.per is not None:
            require_choice("--importance KIND:COST", self.per, get_args(Cost))
        require_choice("--ranking", self.among, get_args(Among))
        require_count("--taylor-batches", self.taylor_batches)

    @property
    def needs_images(self) -> bool:
        """Whether it is measured on training images."""
        return IMPORTANCES[self.importance].measured != "weights"

    @property
    def meaning(self) -> str:
        """What a score is."""
        meaning = IMPORTANCES[self.importance].meaning
        if self.among != "global":
            meaning = f"share that scores less ({meaning}) in {_POOLS[self.among]}"
        return f"{meaning} per {_UNITS[self.per]} saved" if self.per else meaning

    @property
    def normalization(self) -> Normalization:
        """As asked for, or as the importance needs it."""
        return self.normalize or IMPORTANCES[self.importance].normalization
