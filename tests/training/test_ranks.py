"""Several processes train as one: `torchrun` with two gloo processes on this machine."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.training_project import content, run
from utils.command.errors import UserError
from utils.training.optimization.ranks import Ranks

# BN statistics would be each process's own; plain float32 and SGD, since AdamW divides rounding by
# rounding where a gradient is 0.
FLAGS = shlex.split(
    "--cfg my.cfg --data my.data --img-size 32 --batch-size 4 --mosaic 0.5 --device cpu --seed 3 "
    "--amp off --optimizer sgd --lr0 0.01 --freeze-bn -sr --s 0.05 --epochs 2 --no-ema"
)


def gammas(folder: Path) -> Tensor:
    state = content(folder / "last.pt")["raw"]
    return torch.cat([tensor for key, tensor in state.items() if key.endswith("bn.weight")])


# The `--`: torchrun would take --s, like any flag, for the start of one of its own.
def in_two_processes(root: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        "--",
    ]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [*launcher, str(root / "train.py"), *FLAGS, *flags]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_two_processes_give_the_gammas_of_one(project: Path, root: Path) -> None:
    done = in_two_processes(root, "--name", "two")
    assert done.returncode == 0, done.stderr
    one, half = (
        run(*FLAGS, "--name", n, "--batch-size", size) for n, size in (("a", "4"), ("b", "2"))
    )
    two = Path("runs/train/two")
    assert (gammas(two) - gammas(one)).abs().max() < 1e-6
    assert (gammas(half) - gammas(one)).abs().max() > 1e-3  # negative control
    rows, alone = (content(f / "last.pt")["results"][-1] for f in (two, one))
    assert rows["val/map"] == pytest.approx(alone["val/map"], abs=1e-6)
    assert rows["loss/total"] == pytest.approx(alone["loss/total"], rel=1e-5)
    assert {path.name for path in Path("runs/train").iterdir()} == {"two", "a", "b"}
    # Each of two processes takes half of a batch: together they have seen what one alone has.
    seen = [content(folder / "last.pt")["seen"] for folder in (two, one)]
    assert seen[0] == seen[1] > 0
    assert done.stdout.count("| best (") == 1  # the first process talks, the other does not


def test_a_batch_that_cannot_be_dealt_out_is_an_error(project: Path, root: Path) -> None:
    done = in_two_processes(root, "--batch-size", "3")
    assert done.returncode != 0
    assert "--batch-size 3" in done.stderr
    assert not Path("runs/train").exists()


def test_one_process_is_its_own_mean() -> None:
    ranks = Ranks()
    assert (ranks.first, ranks.mean(3.5), ranks.gather("x"), ranks.same(7)) == (True, 3.5, ["x"], 7)
    module = torch.nn.Linear(1, 1)
    assert ranks.wrap(module, some_unused=True) is module


def test_sync_bn_needs_a_gpu(project: Path) -> None:
    with pytest.raises(UserError, match="GPUs only"):
        run("--sync-bn", "--epochs", "1")
