"""One network of the table: translated, on its picture, beside what its own program computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models import Darknet
from utils.cfg import Cfg, remove_option, replace_layers, save_cfg, set_option
from utils.command.errors import UserError
from utils.network.weights import State
from utils.translate.blocks.writer import Answer, Translated
from utils.translate.translation import translate_checkpoint

ROOT = Path(__file__).resolve().parents[2]
_PREFIXES: dict[Answer, str] = {"one2many": "raw_", "one2one": "one2one_"}
# What translation adds to each variance: their epsilon less Darknet's.
_EPSILON_SHIFT = 1e-3 - 1e-5


@dataclass(frozen=True)
class Settings:
    """folder: for files on the way. python: an interpreter with ultralytics. darknet: its library.

    Both may be "": cells that need them are left open.
    """

    folder: Path
    python: str
    darknet: str


@dataclass(frozen=True)
class Subject:
    """A checkpoint and which of its sets of branches, with NAME.npz as peers/fresh.py writes it."""

    checkpoint: Path
    truth: Path
    answer: Answer
    settings: Settings

    @property
    def name(self) -> str:
        """As the table's first column has it."""
        two = f"one2one_{0}" in self.kept
        return f"{self.checkpoint.stem} {self.answer}" if two else self.checkpoint.stem

    @cached_property
    def kept(self) -> dict[str, np.ndarray]:
        """The arrays of the npz. Raises UserError without one."""
        if not self.truth.is_file():
            raise UserError(f"{self.truth}: missing; benchmarks/peers/fresh.py writes it")
        with np.load(self.truth, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    @cached_property
    def picture(self) -> Tensor:
        """(1, 3, H, W) in 0..1."""
        return torch.from_numpy(self.kept["input"]).permute(2, 0, 1)[None].float() / 255

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.kept["input"].shape[:2]
        return height, width

    @cached_property
    def exact(self) -> list[Tensor]:
        """(1, C, h, w) of each level, by its own program, in float64."""
        prefix = _PREFIXES[self.answer]
        names = sorted(name for name in self.kept if name.startswith(prefix))
        return [torch.from_numpy(self.kept[name])[None].double() for name in names]

    @cached_property
    def translated(self) -> Translated:
        """Its cfg and state with Darknet's epsilon."""
        return translate_checkpoint(self.checkpoint, self.size, self.answer)

    def network(self) -> Darknet:
        """A new one, ready to run."""
        return Darknet(self.translated.cfg, weights=self.translated.state).eval()

    def error(self, raw: Sequence[Tensor]) -> float:
        """The largest difference of raw heads from its own program's."""
        if [tuple(found.shape) for found in raw] != [tuple(wanted.shape) for wanted in self.exact]:
            return float("inf")
        pairs = zip(raw, self.exact, strict=True)
        return max(float((found.double() - wanted).abs().max()) for found, wanted in pairs)

    def written(self) -> tuple[Path, Path]:
        """The cfg and its weights as files."""
        cfg = self.settings.folder / f"{self.name.replace(' ', '-')}.cfg"
        weights = cfg.with_suffix(".weights")
        if not weights.is_file():
            save_cfg(self.translated.cfg, cfg)
            self.network().save_weights(weights)
        return cfg, weights


def broken(translated: Translated) -> tuple[Cfg, State]:
    """The network with one rule of the translation broken, which any comparison must see.

    YOLOv3-tiny pools as Darknet does, without the zeros around the map; all others have their
    variances without the difference of the epsilons.
    """
    cfg, state = translated.cfg, translated.state
    pads = [i for i, section in enumerate(cfg.layers) if _moves_by_zeros(cfg, i)]
    if pads:
        place = pads[0]
        # The same channels go on as they are, and the pooling keeps the size by itself.
        key = f"layers.{place}.conv.weight"
        kernel = torch.ones_like(state[key][:, :, :1, :1])
        same = remove_option(set_option(cfg.layers[place], "size", "1"), "padding")
        pool = remove_option(cfg.layers[place + 1], "padding")
        return replace_layers(cfg, {place: same, place + 1: pool}), {**state, key: kernel}
    moved = {
        key: tensor - _EPSILON_SHIFT if key.endswith("running_var") else tensor
        for key, tensor in state.items()
    }
    return cfg, moved


def _moves_by_zeros(cfg: Cfg, index: int) -> bool:
    """Whether a layer is what translation makes of ZeroPad2d before a pooling."""
    if index + 1 >= len(cfg.layers):
        return False
    section, pool = cfg.layers[index], cfg.layers[index + 1]
    return (
        section.kind == "convolutional"
        and section.integer("size", 1) == 2
        and pool.kind == "maxpool"
        and pool.integer("stride", 1) == 1
    )
