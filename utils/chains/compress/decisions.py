"""What compress.py decides for its user, and from what. docs/results.md has the measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...detection.inputs import model_words
from ...detection.options import Inputs
from ...pruning.importance.options import Among
from ...runtimes.targets.names import Target
from .options import Goals, Machine

# Of mAP@.5 on 100 images, by which another choice must lead the first to be preferred.
CLEARLY, CLEARLY_IMAGES = 0.01, 100
NOTHING = 0.02  # mAP@.5 of a network that is not trained for the data
FREE = 0.05  # what a cut may cost for a pull before it to be of no use
PULL_SHARE, LEAST_PULL = 1 / 3, 2  # of the epochs; a pull of a single one frees nothing
TRIAL_SHARE = 1 / 8  # of the epochs, for each size that --max-map-drop tries
# Shares of the parameters, from one to the next smaller by a third.
SIZES = (0.85, 0.7, 0.47, 0.31, 0.21, 0.14, 0.09, 0.06, 0.04, 0.027)
# What may put a cut network right before it is trained; folding alone is the first.
AFTER_THE_CUT: tuple[tuple[str, ...], ...] = ((), ("--recalibrate", "200"), ("--repair", "64"))
ROUND_TO = "4"  # where time counts and no target says better: what most kernels handle whole
# Of the trainings' time, for a search; so few cut networks find nothing, and more add little.
SEARCH_SHARE, LEAST_TRIALS, MOST_TRIALS = 0.05, 20, 200
BEST_WIDTHS = 3  # of a search, that the development share compares
FINETUNING = ("--lr0", "0.002", "--warmup-epochs", "1")
PULLING = (
    "--lr0", "0.001", "--sparsity-regularization", "--s", "auto", "--sparsity-update", "prox",
)  # fmt: skip


@dataclass(frozen=True)
class Order:
    """What ranks the channels: an importance, maybe over a cost, and which compete."""

    importance: str
    among: Among = "global"

    @property
    def words(self) -> tuple[str, ...]:
        """The flags of a prune script for it."""
        apart = () if self.among == "global" else ("--ranking", self.among)
        return ("--importance", self.importance, *apart)

    @property
    def kind(self) -> str:
        """The importance without what it is divided by."""
        return self.importance.partition(":")[0]

    def __str__(self) -> str:
        """As it is told: `taylor:params`, `taylor isomorphic`."""
        return self.importance if self.among == "global" else f"{self.importance} {self.among}"


@dataclass(frozen=True)
class Epochs:
    """How the epochs are split: pulling, finetuning, and each trial of a size."""

    pull: int
    finetune: int
    trial: int = 0

    @property
    def all(self) -> int:
        """Of both trainings."""
        return self.pull + self.finetune


def default_epochs(images: int) -> int:
    """As many as make some 1,500 steps of 16 images of a small set; fewer passes over a large one.

    The number of steps grows with the root of the number of images.
    """
    return min(80, max(8, round(30 * math.sqrt(1000 / images))))


def split(epochs: int, pull: bool) -> Epochs:
    """A third of them for the pull, if there is one: a short pull, a long finetuning."""
    pulled = round(epochs * PULL_SHARE) if pull else 0
    pulled = pulled if pulled >= LEAST_PULL else 0
    return Epochs(pulled, epochs - pulled, max(1, round(epochs * TRIAL_SHARE)))


def orders(goals: Goals) -> tuple[Order, ...]:
    """What may rank the channels, the first unless another is clearly better.

    A latency has its own order of removal, by measured time.
    """
    if goals.latency_ms is not None:
        return (Order("taylor"), Order("lamp"))
    by_macs = goals.keep_macs is not None and goals.keep_params is None and goals.file_kb is None
    over_cost = Order("taylor:macs" if by_macs else "taylor:params")
    plain = (Order("taylor"), over_cost) if _deep(goals) else (over_cost, Order("taylor"))
    return (*plain, Order("taylor", "isomorphic"), Order("lamp"))


def search_trials(wanted: bool, budget_s: float, trial_s: float) -> int:
    """How many cut networks to search among; 0 where too few fit in, unless it is `wanted`."""
    fitting = min(MOST_TRIALS, int(budget_s / trial_s))
    return fitting if fitting >= LEAST_TRIALS else LEAST_TRIALS * wanted


def best_of(scores: Sequence[float], images: int = CLEARLY_IMAGES) -> int:
    """Which of some scores to take: the first, unless another leads by more than chance may.

    What chance does to a mean shrinks with the root of the images.
    """
    best = max(range(len(scores)), key=scores.__getitem__)
    lead = CLEARLY * math.sqrt(CLEARLY_IMAGES / images)
    return best if scores[best] > scores[0] + lead else 0


def after_a_pull(order: Order) -> Order:
    """What ranks the channels of a pulled network: `taylor`, which sees that a gamma is gone."""
    return order if order.kind == "taylor" else Order("taylor", order.among)


def floor_of(goals: Goals) -> float:
    """The share of its channels that each layer keeps at least."""
    small = min(goals.keep_params or 1.0, goals.keep_macs or 1.0) < 0.1
    return 0.02 if small or goals.file_kb is not None else 0.05


def _deep(goals: Goals) -> bool:
    """Whether less than half is to stay: then the pull decides, and costs mislead (docs)."""
    return min(goals.keep_params or 1.0, goals.keep_macs or 1.0) < 0.5


def cut_words(
    goal_words: Sequence[str], order: Order, seed: int, goals: Goals, target: Target | None
) -> list[str]:
    """The flags of slim_prune.py for a goal, and what is to run the result."""
    floor = f"{floor_of(goals):g}"
    rounded = ["--round-to", ROUND_TO] if goals.latency_ms is not None else []
    rounded = ["--for", target] if target else rounded
    return [
        *goal_words, "--at-most", *order.words, "--layer-keep", floor, *rounded,
        "--seed", str(seed),
    ]  # fmt: skip


def train_words(epochs: int, seed: int, machine: Machine, teacher: Inputs) -> list[str]:
    """The flags of train.py that all trainings share; `teacher` is asked for its responses."""
    named = [str(word) for word in model_words(Inputs(teacher.cfg, teacher.weights))]
    taught = ["--t-" + word[2:] if word in ("--cfg", "--weights") else word for word in named]
    return ["--epochs", str(epochs), "--seed", str(seed), *machine.train_words, *taught]
