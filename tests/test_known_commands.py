"""The command lines that people know from the suite before this one, one after the other."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from models import Darknet
from tests.support.nets import conv, head, net, section
from utils.cfg import save_cfg
from utils.command.errors import UserError
from utils.pictures.drawn_set.draw import make_shapes

BLOCKS = 13  # more than the twelve that go

TRAINED = "--cfg cfg/my_cfg.cfg --data data/my_data.data --weights"
LAST = f"{TRAINED} weights/last.pt"
CONVERT = "-c \"from models import *; convert('cfg/my_cfg.cfg', 'weights/last.pt')\""
BASE = f"train.py {TRAINED} weights/yolov3.weights --epochs 100 --batch-size 32"
SPARSE = (
    f"train.py {TRAINED} weights/last.weights --epochs 300 --batch-size 32 -sr --s 0.001 --prune 1"
)
PRUNING = {
    f"prune.py {LAST} --percent 0.85": "prune_0.85_",
    f"shortcut_prune.py {LAST} --percent 0.6": "prune_0.6_",
    f"slim_prune.py {LAST} --global-percent 0.8 --layer-keep 0.01": "prune_0.8_keep_0.01_",
    f"layer_prune.py {LAST} --shortcuts 12": "prune_12_shortcut_",
    f"layer_channel_prune.py {LAST} --shortcuts 12 --global-percent 0.8 --layer-keep 0.1": (
        "prune_12_shortcut_prune_0.8_keep_0.1_"
    ),
}
FINETUNING = (
    "train.py --cfg cfg/prune_0.85_my_cfg.cfg --data data/my_data.data "
    "--weights weights/prune_0.85_last.weights --epochs 100 --batch-size 32"
)


def my_cfg(classes: int) -> str:
    """A small detector with `BLOCKS` residual blocks."""
    block = conv(4, 1) + conv(8) + section("shortcut", frm=-3, activation="linear")
    start = conv(8, stride=2) + conv(8, stride=2) + conv(8, stride=2)
    return start + block * BLOCKS + head(classes)


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Path:
    """A folder as that suite's: scripts, cfg/, data/, weights/."""
    for script in root.glob("*.py"):
        (tmp_path / script.name).symlink_to(script)
    (tmp_path / "utils").symlink_to(root / "utils")
    make_shapes(tmp_path / "data" / "shapes", 20, img_size=64)
    text = (tmp_path / "data" / "shapes" / "shapes.data").read_text()
    lines = [f"{k}=shapes/{v}" if k != "classes" else f"{k}={v}" for k, v in pairs(text)]
    (tmp_path / "data" / "my_data.data").write_text("\n".join(lines) + "\n")
    for folder in ("cfg", "weights"):
        (tmp_path / folder).mkdir()
    save_cfg(net(my_cfg(3), width=64, height=64), tmp_path / "cfg" / "my_cfg.cfg")
    Darknet(net(my_cfg(80))).save_weights(tmp_path / "weights" / "yolov3.weights")
    return tmp_path


def pairs(text: str) -> list[tuple[str, str]]:
    """The options of a .data file."""
    split = (line.partition("=") for line in text.splitlines() if "=" in line)
    return [(key.strip(), value.strip()) for key, _, value in split]


def python(folder: Path, command: str) -> str:
    """Run a command line as it stands; it must succeed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *shlex.split(command)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=3000, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_known_command_lines_work_as_they_stand(project: Path) -> None:
    python(project, BASE)
    python(project, CONVERT)
    (project / "weights" / "converted.weights").rename(project / "weights" / "last.weights")
    python(project, SPARSE)
    for command, prefix in PRUNING.items():
        python(project, command)
        assert (project / "cfg" / f"{prefix}my_cfg.cfg").is_file()
        assert (project / "weights" / f"{prefix}last.weights").is_file()
    python(project, FINETUNING)
    # weights/last.pt is the pruned network's by now: what is written says so.
    python(project, CONVERT)
    converted = project / "weights" / "converted.weights"
    Darknet(converted.with_suffix(".cfg")).load_weights(converted)
    with pytest.raises(UserError):
        Darknet(project / "cfg" / "my_cfg.cfg").load_weights(converted)
    assert list((project / "runs").rglob("events.out.tfevents*"))
