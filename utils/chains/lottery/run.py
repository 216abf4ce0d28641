"""The lottery ticket: train, mask, rewind to the start, train again (arXiv:1803.03635).

A ticket is worth something only if it beats two others at the same sparsity: masks of as many
weights of each layer at random, from the same start, and its own masks on other random weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import prune

from ...cfg import format_cfg
from ...command.csv_file import write_csv
from ...command.errors import UserError
from ...command.table import table
from ...masks.figures import sparsity
from ...masks.files import save_masked
from ...masks.methods import Masks, Method, apply_masks_, mask_
from ...masks.options import Amounts
from ...masks.run import mask_network_, method_of
from ...masks.targets import find_targets
from ...network.cfg_of import read_cfg
from ...network.darknet import Build, Network
from ...network.initialize import initialize
from ...network.weights import State
from ...training.run_folder import RunFolder
from ..journal import Journal, Trainer, best_scores
from .options import RANDOM, LotteryOptions

_OTHER_SEED = 1_000_003  # added to --seed: weights and masks that have nothing to do with the start
Row = dict[str, float]


def run_lottery(
    options: LotteryOptions, build: Build, journal: Journal, trainer: Trainer
) -> list[Row]:
    """All rounds; trainings that are done already are not repeated. Raises UserError."""
    lottery = _Lottery(options, build, journal, trainer)
    choice = options.mask.choice
    start = lottery.start_state()
    masks: Masks = {}
    trained = lottery.trained("0-dense", start, masks)
    map50 = best_scores(trained)[0]
    rows = [{"round": 0, "sparsity": 0.0, **dict.fromkeys(COLUMNS, map50)}]
    for number in range(1, choice.rounds + 1):
        network = lottery.network().load_weights(trained.best)
        _, masks = mask_network_(network, choice, masks, 1)
        fresh = lottery.random_state(choice.seed + _OTHER_SEED)
        trained = lottery.trained(f"{number}-ticket", start, masks)
        others = {
            "random_masks": (start, lottery.random_masks(masks)),
            "random_weights": (fresh, masks),
        }
        row: Row = {"round": number, "sparsity": sparsity(masks)}
        row["ticket"] = best_scores(trained)[0]
        for name, (state, used) in others.items():
            row[name] = best_scores(lottery.trained(f"{number}-{name}", state, used))[0]
        rows.append(row)
        write_csv(journal.folder / "lottery.csv", rows)
        # matplotlib takes a second to load
        from .chart import lottery_chart

        lottery_chart(rows, journal.folder / "lottery.png")
        print(lottery_table(rows))
    return rows


def require_unstructured(options: LotteryOptions) -> None:
    """Raise UserError for methods that take whole slices: they leave no ticket to rewind."""
    if method_of(options.mask.choice).structured:
        raise UserError("--rewind: is for unstructured methods; its control are random weights")


COLUMNS = ("ticket", "random_masks", "random_weights")


def lottery_table(rows: Sequence[Mapping[str, float]]) -> str:
    """mAP@.5 against the sparsity, of the ticket and of its controls."""
    lines = [["round", "sparsity", "mAP@.5: ticket", "random masks", "random weights"]]
    lines += [
        [f"{row['round']:.0f}", f"{row['sparsity']:.2%}", *(f"{row[c]:.4f}" for c in COLUMNS)]
        for row in rows
    ]
    return table(lines, right=range(5))


class _Lottery:
    """What the trainings of all rounds share."""

    def __init__(
        self, options: LotteryOptions, build: Build, journal: Journal, trainer: Trainer
    ) -> None:
        self._options, self._build = options, build
        self._journal, self._trainer = journal, trainer
        self._seed = options.mask.choice.seed

    def network(self) -> Network:
        """A network of the cfg."""
        inputs = self._options.mask.inputs
        network: Network = self._build(read_cfg(inputs.cfg), inputs.img_size)
        return network

    def start_state(self) -> State:
        """What every round rewinds to."""
        if self._options.rewind == RANDOM:
            return self.random_state(self._seed)
        return _state(self.network().load_weights(self._options.rewind))

    def random_state(self, seed: int) -> State:
        """Weights as a training starts from."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.network()
            initialize(network.layers, network.heads)
        return _state(network)

    def random_masks(self, masks: Mapping[str, Tensor]) -> Masks:
        """Masks of as many weights of each layer, at random."""
        found: Masks = {}
        targets = find_targets(self.network(), (), ("weight", "bias"))
        for place, target in enumerate(target for target in targets if target.key in masks):
            gone = int((~masks[target.key]).sum())
            method = Method(prune.RandomUnstructured, {"amount": gone}, takes_amount=False)
            seed = self._seed + _OTHER_SEED + place
            found |= mask_([target], method, Amounts(0.0), seed=seed)
        return found

    def trained(self, key: str, state: State, masks: Masks) -> RunFolder:
        """The training `key` from a state with masks held; KEY.pt holds where it starts from."""
        network = self.network()
        network.load_state(state)
        apply_masks_(find_targets(network, (), ("weight", "bias")), masks)
        path = self._journal.folder / f"{key}.pt"
        save_masked(path, format_cfg(network.cfg), _state(network), masks, 0)
        return self._journal.trained(key, self._flags(path), self._trainer)

    def _flags(self, start: Path) -> list[str]:
        return [*self._options.train_flags, "--weights", str(start), "--masks", str(start)]


def _state(network: Network) -> State:
    return {key: tensor.detach().clone() for key, tensor in network.state_dict().items()}
