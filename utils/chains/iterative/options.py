"""What an iterative prune is asked for, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...command.errors import UserError
from ...command.option_values import require_count, require_share
from ...pruning.options import Budget, Measure, PruneOptions, Typed


@dataclass(frozen=True)
class Pace:
    """How an iterative prune goes: so many steps to a target, each finetuned for some epochs.

    target: share of the original that is gone after the last step. last_*: the last step's own, or
    None. one_shot: a single step with the epochs of all.
    """

    steps: int = 16
    target: float = 0.5
    epochs_per_step: int = 30
    last_epochs: int | None = None
    last_batch_size: int | None = None
    last_schedule: str | None = None
    one_shot: bool = False

    def __post_init__(self) -> None:
        require_count("--steps", self.steps)
        require_share("--target", self.target)
        require_count("--epochs-per-step", self.epochs_per_step)


@dataclass(frozen=True)
class IterativeOptions:
    """An iterative prune: a network pruned and finetuned by turns.

    prune: what every prune is asked for, but for its model and its budget; the first one's model.
    measure: what the target is a share of. max_map_drop: of mAP@.5, from which on to stop.
    train_flags: what every training is given on its command line, but for model and epochs: a
    training may be killed, and goes on by itself. teacher: its cfg and weights, or two "".
    """

    prune: PruneOptions
    pace: Pace
    measure: Measure
    max_map_drop: float | None
    train_flags: tuple[str, ...]
    teacher: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        if bool(self.teacher[0]) != bool(self.teacher[1]):
            raise UserError("--t-cfg and --t-weights: a teacher needs both")
        for budget in self.prune.budgets:
            raise UserError(
                f"--target-{budget.measure}: each step has a goal of its own; say it by "
                "--target and --measure"
            )
        if self.prune.sensitivity is not None:
            raise UserError(
                "--sensitivity: was measured of the first network; each step prunes another"
            )
        if self.prune.outputs.dry_run:
            raise UserError("--dry-run: would leave nothing to finetune")
        inputs = self.prune.inputs
        self.prune_of_step(inputs.cfg, inputs.weights, 1.0)  # a ratio, a sweep: refused now

    def prune_of_step(self, cfg: str, weights: str, share: float) -> PruneOptions:
        """What the prune of a step is asked for: to leave a share of `measure` of these files."""
        budget, typed = Budget(self.measure, share), self.prune.typed
        if typed.flags:
            own = {"cfg": cfg, "weights": weights, "budget": str(budget), "force": True}
            goal = (f"--target-{self.measure}", repr(share), "--force")
            words = (*typed.command, "--cfg", cfg, "--weights", weights, *goal)
            typed = Typed({**typed.flags, **own}, words)
        return replace(
            self.prune,
            inputs=replace(self.prune.inputs, cfg=cfg, weights=weights),
            budgets=(budget,),
            outputs=replace(self.prune.outputs, force=True),
            typed=typed,
        )


@dataclass(frozen=True)
class IterativeRun:
    """A run of iterative_prune.py: what it does, and where.

    output: a new folder; "": a free one below runs/iterative. resume: the folder of a run to go on
    with; "": a new one. from_scratch: the folder of a finished run whose best structure is trained
    from random weights, in place of pruning. typed: the flags, for the journal.
    """

    options: IterativeOptions
    output: str
    resume: str
    from_scratch: str
    typed: Mapping[str, object]
