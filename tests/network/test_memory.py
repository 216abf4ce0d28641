"""Weights that a file gave are in memory once; benchmarks/memory.py measures whole commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from models import Darknet
from tests.support.nets import conv, head, net
from utils.cfg import format_cfg

RESET = Path("/proc/self/clear_refs")
MEASURE = """
import sys
from pathlib import Path
from models import Darknet
from utils.network.weights import load_darknet_weights

def status_kib(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))

def peak_kib(work):
    Path("/proc/self/clear_refs").write_text("5")
    before = status_kib("VmRSS")
    kept = work()
    return status_kib("VmHWM") - before

cfg, weights = sys.argv[1:]
rules = Darknet(cfg, weights=weights).rules  # libraries set themselves up
once = peak_kib(lambda: Darknet(cfg, weights=weights))
twice = peak_kib(lambda: Darknet(cfg, weights=load_darknet_weights(weights, rules)[0]))
print(once, twice)
"""


@pytest.mark.skipif(not RESET.exists(), reason="peaks are forgotten by Linux alone")
def test_a_file_is_in_memory_once(tmp_path: Path, root: Path) -> None:
    cfg, weights = tmp_path / "net.cfg", tmp_path / "net.weights"
    cfg.write_text(format_cfg(net(conv(512), conv(1024), conv(512), head())))
    Darknet(cfg).save_weights(weights)
    size_kib = weights.stat().st_size / 1024
    command = [sys.executable, "-c", MEASURE, str(cfg), str(weights)]
    said = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    once, twice = (int(word) / size_kib for word in said.split())
    assert once < 1.5 < 1.8 < twice  # a state that is given is copied: the negative control
