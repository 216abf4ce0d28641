"""mask_prune.py --rewind: tickets, their controls, and what each training starts from."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

import mask_prune
import train
from models import Darknet
from tests.support.training_project import content
from utils.command.errors import UserError

FLAGS = [
    "--cfg", "my.cfg", "--data", "my.data", "--img-size", "32", "--device", "cpu", "--workers", "0",
    "--epochs", "1", "--train-flags=--mosaic 0 --lr0 0.01 --batch-size 4", "--scope", "global",
    "--amount", "0.5", "--rounds", "2",
]  # fmt: skip


def gone(masks: dict[str, torch.Tensor]) -> list[int]:
    return [int((~mask).sum()) for mask in masks.values()]


def test_tickets_start_where_they_started_and_controls_do_not(project: Path) -> None:
    Darknet("my.cfg").save_weights("start.weights")
    first = Darknet("my.cfg").load_weights("start.weights").state_dict()
    rows = mask_prune.main([*FLAGS, "--rewind", "start.weights", "--output", "out"])
    assert isinstance(rows, list)
    assert [row["sparsity"] for row in rows] == pytest.approx([0, 0.5, 0.75], abs=1e-3)
    with Path("out/lottery.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    assert Path("out/lottery.png").stat().st_size > 1000
    starts = {
        name: content(Path(f"out/2-{name}.pt"))
        for name in ("ticket", "random_masks", "random_weights")
    }
    masks = {name: found["masks"] for name, found in starts.items()}
    for name, found in starts.items():
        for key, mask in masks[name].items():
            same = torch.equal(found["model"][key], first[key] * mask)
            assert same == (name != "random_weights"), (name, key)
        end = content(train.RUNS / f"out-2-{name}" / "last.pt")["model"]
        assert all(not end[key][~mask].any() for key, mask in masks[name].items())
    assert gone(masks["ticket"]) == gone(masks["random_masks"])  # layer by layer
    ticket, random = (torch.cat([m.flatten() for m in masks[name].values()]) for name in
                      ("ticket", "random_masks"))  # fmt: skip
    assert not torch.equal(ticket, random)
    earlier = content(Path("out/1-ticket.pt"))["masks"]
    assert all(not (mask & ~earlier[key]).any() for key, mask in masks["ticket"].items())
    runs = {path.name for path in train.RUNS.iterdir()}
    again = mask_prune.main(["--resume", "out"])
    assert again == rows
    assert {path.name for path in train.RUNS.iterdir()} == runs  # nothing was trained twice


def test_what_rewinding_cannot_be_combined_with(project: Path) -> None:
    for flags, said in (
        (["--method", "ln_structured", "--scope", "local"], "unstructured"),
        (["--masks", "x.pt"], "leave out --masks"),
    ):
        with pytest.raises(UserError, match=said):
            mask_prune.main([*FLAGS, *flags, "--rewind", "random", "--output", "out"])
    with pytest.raises(UserError, match="needs --data"):
        mask_prune.main(["--rewind", "random"])
    with pytest.raises(UserError, match="give --resume alone"):
        mask_prune.main([*FLAGS, "--resume", "out"])
    assert not Path("out").exists()
