"""Layers as files of a runtime, and the script that times them where darkslim is not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latency_table
from benchmarks import latency_probe
from models import Darknet
from tests.support.nets import conv, head, net
from utils.cfg import format_cfg
from utils.command.errors import UserError
from utils.command.optional import INT8_NEEDS, NEEDS, missing
from utils.network.graph import channel_graph
from utils.pruning.goals import probe, table_file
from utils.pruning.goals.known_table import read_matching_table


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network, two of whose layers are alike; the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(probe, "_SHARES", (0.5, 1.0))  # a converter takes a second for each file
    layers = (conv(8, stride=2), conv(8), conv(8), conv(8, groups=8), head())
    Path("my.cfg").write_text(format_cfg(net(*layers)))
    Darknet("my.cfg").save_weights("my.weights")
    return tmp_path


def write(runtime: str, further: Sequence[str] = ()) -> dict[str, Any]:
    words = ["--cfg", "my.cfg", "--weights", "my.weights", "--runtime", runtime, *further]
    latency_table.main([*words, "--probe", "probe"])
    found: dict[str, Any] = json.loads(Path("probe/probe.json").read_text())
    return found


@pytest.mark.parametrize(
    ("runtime", "needs"),
    [
        ("opencv", ()), ("onnx-int8", INT8_NEEDS["onnx"]),
        pytest.param("onnx", NEEDS["onnx"], marks=pytest.mark.slow),
        ("openvino-int8", INT8_NEEDS["openvino"]), ("ncnn", NEEDS["ncnn"]), ("mnn", NEEDS["mnn"]),
        pytest.param("litert-int8", INT8_NEEDS["litert"], marks=pytest.mark.slow),
        pytest.param("executorch-int8", INT8_NEEDS["executorch"], marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_prune_goes_by_what_the_script_measured(
    here: Path, runtime: str, needs: tuple[str, ...]
) -> None:
    if missing(needs):
        pytest.skip(f"needs {', '.join(missing(needs))}")
    told = write(runtime)
    groups = [each["layers"] for each in told["layers"]]
    assert sorted(index for group in groups for index in group) == [0, 1, 2, 3, 4]
    assert [1, 2] in groups
    named = {file["file"] for each in told["layers"] for row in each["files"] for file in row}
    assert all(Path("probe", name).is_file() for name in named)
    (plain,) = (each for each in told["layers"] if each["layers"] == [1, 2])
    assert plain["inputs"] == plain["outputs"] == [4, 8] and len(plain["files"]) == 2
    (tied,) = (each for each in told["layers"] if each["layers"] == [3])
    assert tied["tied"] and len(tied["files"]) == 1
    # What goes in is as wide as it says.
    assert [row[0]["shape"][1] for row in plain["files"]] == [4, 8]
    latency_probe.main(["probe", "--threads", "1", "--device-name", "a board"])
    network = Darknet("my.cfg")
    graph = channel_graph(network.rules)
    table, found = read_matching_table("probe/table.json", graph, network.cfg, network.img_size)
    assert (found.runtime, found.device) == (runtime, "a board")
    assert table.sum_ms(np.ones(graph.count, bool)) == pytest.approx(found.whole_ms["p10"])


def test_the_script_needs_numpy_alone(here: Path, root: Path) -> None:
    script = root / "benchmarks/latency_probe.py"
    lines = f"import sys; sys.argv = ['x', '--help']; exec(open({str(script)!r}).read())"
    watched = "import sys, atexit; atexit.register(lambda: print(sorted(sys.modules)));"
    done = subprocess.run(
        [sys.executable, "-c", watched + lines], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.splitlines()[-1]
    assert "'numpy'" in loaded and "'torch'" not in loaded and "'utils'" not in loaded
    # What it cannot import, it must know.
    assert (latency_probe.FORMAT, latency_probe.VERSION) == (
        table_file.FORMAT, table_file.VERSION,
    )  # fmt: skip
    assert probe.FORMAT in script.read_text()


def test_it_comes_with_the_files(
    here: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("opencv", ("--threads", "1"))
    assert "latency_probe.py probe --threads 1\n" in capsys.readouterr().out
    copied = Path("probe/latency_probe.py").read_bytes()
    assert copied == (root / "benchmarks/latency_probe.py").read_bytes()
    with pytest.raises(UserError, match="--probe probe: holds other files"):
        latency_table.main(["--weights", "my.weights", "--runtime", "opencv", "--probe", "probe"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --output FILE to measure here, or --probe"),
        (["--output", "t.json", "--probe", "p"], "give --output FILE to measure here, or --probe"),
        (["--probe", "p"], "PyTorch times layers as they are"),
    ],
)
def test_flags(here: Path, words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        latency_table.main(["--weights", "my.weights", *words])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("{", "is no JSON"),
        ("[]", "is no probe"),
        ('{"format": "darkslim latency probe"}', "says no cfg_sha256"),
        (
            '{"format": "darkslim latency probe", "runtime": "tpu", "cfg_sha256": "", "img_hw": [],'
            ' "layers": [], "whole": {}}',
            "no runtime that this script",
        ),
    ],
)
def test_what_the_script_refuses(
    here: Path, text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("probe").mkdir()
    if text is not None:
        Path("probe/probe.json").write_text(text)
    with pytest.raises(SystemExit) as ended:
        latency_probe.main(["probe"])
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_a_file_that_does_not_open_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("opencv")
    for file in Path("probe").glob("whole.*"):
        file.write_bytes(b"nonsense")
    with pytest.raises(SystemExit):
        latency_probe.main(["probe"])
    said = capsys.readouterr().err
    assert said.startswith("error: probe/whole.") and said.count("\n") == 1
    assert not Path("probe/table.json").exists()
