"""Every block of the newer families between two convolutions, as a checkpoint, translated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from tests.support.checkpoints import like_v8 as theirs
from tests.support.checkpoints import like_v9, like_v10, like_v11
from tests.support.checkpoints.like_v10 import around
from tests.support.translated import SIZE
from utils.cfg import Cfg
from utils.network.weights import State
from utils.translate.translation import translate_checkpoint

BLOCKS: dict[str, tuple[Callable[[], list[nn.Module]], int]] = {
    "C2f": (lambda: [theirs.C2f(16, 24, 2, True)], 24),
    "C2": (lambda: [like_v10.C2(16, 24, 2)], 24),
    "C3k2 of C3k": (lambda: [like_v10.C3k2(16, 32, 2, like_v10.C3k)], 32),
    "ghosts": (lambda: [like_v10.GhostConv(16, 24, 3, 2), like_v10.C3Ghost(24, 32, 2)], 32),
    "SPPF with a sum": (lambda: [like_v10.AddedSPPF(16)], 16),
    "C2fCIB": (lambda: [like_v10.C2fCIB(16, 32, 2)], 32),
    "tiny": (lambda: [nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1, 0)], 16),
    "transposed": (lambda: [nn.ConvTranspose2d(16, 12, 2, 2)], 12),
    "ELAN, halves down": (lambda: [like_v9.RepNCSPELAN4(16, 32, 16, 8, 1), like_v9.ADown(32, 24)],
                          24),
    "C2PSA": (lambda: [theirs.Conv(16, 16, 3, 2), like_v11.C2PSA(16, 2)], 16),
    "PSA": (lambda: [theirs.Conv(16, 16, 3, 2), like_v11.PSA(16)], 16),
    "A2C2f": (lambda: [theirs.Conv(16, 16, 3, 2), like_v11.A2C2f(16, 24, 4)], 24),
    "A2C2f with gammas": (lambda: [theirs.Conv(16, 16, 3, 2),
                                   like_v11.A2C2f(16, 16, 4, residual=True)], 16),
}  # fmt: skip


def translated(name: str, folder: Path) -> tuple[theirs.DetectionModel, Cfg, State]:
    blocks, width = BLOCKS[name]
    made = theirs.healthy(around(*blocks(), width=width))
    assert isinstance(made, theirs.DetectionModel)
    found = translate_checkpoint(theirs.save(folder / "a.pt", made), SIZE)
    return made, found.cfg, found.state
