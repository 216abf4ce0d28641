"""What sparse training does, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ...command.errors import UserError
from ...command.flag_fields import flag

SparsityPenalty = Literal["gammas", "group-norm", "growing"]
SparsityUpdate = Literal["subgradient", "prox"]
SparsitySchedule = Literal["constant", "global-decay", "local-decay", "linear"]
Auto = Literal["auto"]

AUTO: Auto = "auto"  # of the strength
REMEASURED = 200  # images, of `remeasure`
PRUNE_SCRIPTS = {0: "prune", 1: "slim_prune"}  # the numbers that `--prune` takes


@dataclass(frozen=True)
class SparsityDecay:
    """How the pull changes in the course of a training.

    linear: falls to a tenth, so that gammas part early and what is left recovers late (the
    published recipe for slimming YOLOv8). global-decay: `factor` of it once the share `at` of the
    training is over. local-decay: from then on only for the gammas above the percentile
    `keep_percent` of all candidates, which are the ones that will stay.
    """

    kind: SparsitySchedule = field(default="constant", metadata=flag("sparsity_schedule"))
    at: float = field(default=0.5, metadata=flag("decay_at"))
    factor: float = field(default=0.01, metadata=flag("decay_factor"))
    keep_percent: float = 0.85

    def factors(self, done: float) -> tuple[float, float]:
        """Factors of s for the gammas below and above the percentile, at the share `done`."""
        if self.kind == "linear":
            return 1.0 - 0.9 * done, 1.0 - 0.9 * done
        if self.kind == "constant" or done <= self.at:
            return 1.0, 1.0
        return (1.0 if self.kind == "local-decay" else self.factor), self.factor


@dataclass(frozen=True)
class SparsityOptions:
    """The pull on the gammas of channels that are to go.

    on: whether there is one. strength: once per optimizer step; AUTO: a gamma that nothing opposes
    is gone half-way. update: it joins the gradients, or acts after each step. strategy: the prune
    script whose candidates are pulled; plan: a NAME.plan.json whose removed channels are pulled in
    their place. penalty: on what: |gamma|; or the squares of all weights that go with a channel,
    the smaller ones more ("group-norm"), or with a factor that grows ("growing"). remeasure:
    training images on which the BN statistics of the averaged weights are measured again before
    they are scored or saved for good; None: REMEASURED if `on`.
    """

    on: bool = field(default=False, metadata=flag("sparsity_regularization"))
    strength: float | Auto = field(default=0.001, metadata=flag("s"))
    update: SparsityUpdate = field(default="subgradient", metadata=flag("sparsity_update"))
    decay: SparsityDecay = field(default_factory=SparsityDecay)
    strategy: str = PRUNE_SCRIPTS[1]
    plan: str | None = field(default=None, metadata=flag("sparsity_plan"))
    remeasure: int | None = None
    penalty: SparsityPenalty = field(default="gammas", metadata=flag("sparsity_penalty"))

    def __post_init__(self) -> None:
        kind = self.decay.kind
        if not self.on or self.penalty == "gammas":
            return
        if self.penalty == "growing" and self.plan is None:
            raise UserError(
                "--sparsity-penalty growing: needs --sparsity-plan, the plan.json of a prune: the "
                "channels that are to go are chosen before their factor grows"
            )
        if kind == "local-decay" or (self.penalty == "growing" and kind != "constant"):
            raise UserError(
                f"--sparsity-schedule {kind}: --sparsity-penalty {self.penalty} has a measure of "
                "its own for which channels are pulled, and how strongly; leave it out"
            )

    @property
    def by_gradient(self) -> bool:
        """Whether the pull joins the gradients."""
        return self.on and self.update == "subgradient"
