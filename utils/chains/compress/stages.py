"""The stages of a compression: each is a single command, which a user could type."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...cfg import Cfg
from ...command.files import atomic_write
from ...command.machine.device import pick_device
from ...command.optional import quiet
from ...command.words.next_step import Words
from ...data.darknet_files import load_data_file
from ...detection.evaluate import Collected, EvalOptions
from ...detection.figures import ModelFigures, figures
from ...detection.inputs import model_words
from ...detection.options import Inputs, Scoring
from ...detection.score import collect_on, scoring_images
from ...network.cfg_of import is_ultralytics, read_cfg
from ...network.darknet import Build, Network
from ...network.weights import State
from ...pruning.command.flags import prune_flags
from ...pruning.command.run import cut_alone, prune_network, score_cuts
from ...pruning.options import PruneOptions
from ...pruning.strategy import Strategy
from ...training.run_folder import RunFolder
from ...translate.options import TranslateOptions
from ...translate.run import write_translated
from ..journal import Journal, Train, is_finished
from .one_bar import OneBar

PRUNE = "slim_prune.py"


@dataclass(frozen=True)
class Tools:
    """What the scripts at the top give: the network, `train.main`, slim_prune.py's strategy."""

    build: Build
    train: Train
    strategy: Strategy


@dataclass(frozen=True)
class Line:
    """The stages in their folder. What is done is in the journal and is not done again.

    data: choices.data, which trainings go on and choices are made on. What trainings say goes to
    the log of `bar`, within whose stages all of this happens.
    """

    journal: Journal
    tools: Tools
    data: Path
    bar: OneBar

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return self.journal.folder

    def pruned(self, key: str, model: Inputs, words: Sequence[str]) -> Inputs:
        """The model that slim_prune.py makes of one; what it says goes to FOLDER/KEY/KEY.txt."""
        where: Words = ["--project", self.folder, "--name", key, "--force"]
        given = [*_typed(model_words(model)), "--data", str(self.data), *words, *_typed(where)]
        stem = self.folder / key / key
        made = Inputs(f"{stem}.cfg", f"{stem}.weights", model.img_size)
        if not self._done(key):
            stem.parent.mkdir(exist_ok=True)
            options = prune_flags(self.tools.strategy, None, given)
            with (
                atomic_write(f"{stem}.txt") as said,
                said.open("w", encoding="utf-8") as file,
                redirect_stdout(file),
                quiet(),
            ):
                prune_network(options, self.tools.build)
            self._note(key, [PRUNE, *given])
        return made

    def tried(
        self, model: Inputs, words: Sequence[str], ways: Sequence[Sequence[str]]
    ) -> list[ModelFigures]:
        """What slim_prune.py would make of a model, scored on the development share.

        Once for each of the `ways` in which the cut network may be put right.
        """
        with quiet():
            options = [self._dry(model, [*words, *way]) for way in ways]
            return score_cuts(options, self.tools.build)

    def cut_alone(self, model: Inputs, words: Sequence[str]) -> tuple[Cfg, State]:
        """What slim_prune.py would make of a model, as it is."""
        with quiet():
            return cut_alone(self._dry(model, words), self.tools.build)

    def _dry(self, model: Inputs, words: Sequence[str]) -> PruneOptions:
        given = [*_typed(model_words(model)), "--data", str(self.data), *words, "--dry-run"]
        return prune_flags(self.tools.strategy, None, given)

    def trained(self, key: str, model: Inputs, words: Sequence[str]) -> Inputs:
        """The model that train.py makes of one: its last epoch's, since none is scored but that."""
        root = self.folder / "train"
        run = RunFolder(root / key)
        where: Words = ["--project", root, "--name", key, "--exist-ok", "--notest", "--noplots"]
        given = [*_typed(model_words(model)), "--data", str(self.data), *words, *_typed(where)]
        if not self._done(key):
            words = ["--resume", str(run.path)] if run.last.is_file() else given
            if words is given or not is_finished(run.last):
                self.tools.train(words)
            self._note(key, ["train.py", *given])
        return Inputs(str(run.last), str(run.last), model.img_size)

    def value(self, key: str, measure: Callable[[], Any]) -> Any:
        """A plain value that is measured once."""
        found: dict[str, Any] = self.journal.content["found"]
        if key not in found:
            self.journal.note(found={**found, key: measure()})
        return self.journal.content["found"][key]

    def score(self, model: Inputs, how: Scoring) -> ModelFigures:
        """Size and mAP of a model."""
        return figures(self._opened(model), how, False)

    def found_by(self, model: Inputs, how: Scoring) -> Collected:
        """What a model finds in the images that it is scored on."""
        network, device = self._opened(model), pick_device(how.device)
        fused = self._opened(model).answering_().fuse().eval().to(device)
        images = scoring_images(load_data_file(how.data), network, how)
        return collect_on(images, fused, network, how, EvalOptions(device=device))

    def _opened(self, model: Inputs) -> Network:
        network: Network = self.tools.build(
            read_cfg(model.cfg), model.img_size, weights=model.weights
        )
        return network

    def _done(self, key: str) -> bool:
        return key in self.journal.content["commands"]

    def _note(self, key: str, words: Sequence[str]) -> None:
        commands = {**self.journal.content["commands"], key: list(words)}
        self.journal.note(commands=commands)


def copied(model: Inputs, folder: Path, data: str, build: Build) -> Inputs:
    """The model's files in a folder, as base.*: what the commands start from stays as it is.

    A checkpoint of ultralytics is translated for the classes of the data.
    """
    if model.cfg == model.weights and is_ultralytics(model.weights):
        cfg = folder / "base.cfg"
        made = Inputs(str(cfg), str(cfg.with_suffix(".weights")), model.img_size)
        if not (cfg.is_file() and Path(made.weights).is_file()):
            asked = TranslateOptions(
                model.weights, str(cfg), "", data, model.img_size, "native", force=True
            )
            write_translated(asked, build)
        return made
    if model.cfg == model.weights:
        target = _copy(model.weights, folder / f"base{Path(model.weights).suffix}")
        return Inputs(target, target, model.img_size)
    cfg, weights = folder / "base.cfg", folder / f"base{Path(model.weights).suffix}"
    if Path(model.cfg).suffix != ".cfg":  # a checkpoint that holds it
        cfg = cfg.with_name("structure.pt")
    return Inputs(_copy(model.cfg, cfg), _copy(model.weights, weights), model.img_size)


def _copy(source: str, target: Path) -> str:
    if not target.is_file():
        with atomic_write(target) as temporary:
            shutil.copyfile(source, temporary)
    return str(target)


def _typed(words: Words) -> list[str]:
    return [str(word) for word in words]
