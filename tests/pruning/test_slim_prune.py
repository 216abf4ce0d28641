"""The command slim_prune.py: its files and their names, its words, what it refuses."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import slim_prune
from models import Darknet
from tests.support.nets import conv, head, healthy_state, net, section
from tests.support.prune_case import prune_by_flags
from utils.cfg import format_cfg, load_cfg
from utils.command.cli import run_main
from utils.command.errors import UserError
from utils.network.layers import Convolutional
from utils.network.weights import load_darknet_weights
from utils.pruning.proof.gate import GateError
from utils.pruning.report.result import Pruned
from utils.training.run_folder import started_from

TINY = net(
    conv(8, stride=2), conv(4, 1), conv(8), section("shortcut", frm=-3), conv(8, stride=2), head(),
)  # fmt: skip
PREFIX = "prune_0.5_keep_0.1_"


def make_inputs(folder: Path, suffix: str = ".weights") -> tuple[Path, Path]:
    """FOLDER/my.cfg, and weights beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    cfg, weights = folder / "my.cfg", folder / f"last{suffix}"
    cfg.write_bytes(b"# caf\xe9 \r\n" + format_cfg(TINY).encode())
    model = Darknet(TINY)
    model.load_state(healthy_state(model))
    model.seen = 12345
    if suffix == ".pt":
        torch.save({"model": model.state_dict(), "seen": model.seen}, weights)
    else:
        model.save_weights(weights)
    return cfg, weights


def prune_files(cfg: Path | str, weights: Path | str, *flags: str) -> Pruned:
    argv = ["--cfg", str(cfg), "--weights", str(weights), "--global-percent", "0.5"]
    argv += ["--layer-keep", "0.1", *flags]
    found = prune_by_flags(slim_prune.STRATEGY, argv)
    assert isinstance(found, Pruned)
    return found


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# -- what it writes --------------------------------------------------------------------------------


def test_without_data_no_forward_pass_is_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg, weights = make_inputs(tmp_path)
    found = prune_files(cfg, weights, "--report", str(tmp_path / "report"))
    assert "Forward (ms)" not in capsys.readouterr().out
    assert found.before.latency is None
    assert found.after.latency is None
    assert "Forward (ms)" not in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize("form", ["nested", "absolute", "bare"])
@pytest.mark.parametrize("suffix", [".weights", ".pt"])
def test_names_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = {"nested": Path("a/cfg.d"), "absolute": tmp_path / "b", "bare": Path()}[form]
    cfg, weights = make_inputs(folder, suffix)
    before = {path: path.read_bytes() for path in (cfg, weights)}
    prune_files(cfg, weights)
    assert names(folder) - {"my.cfg", f"last{suffix}"} == {
        f"{PREFIX}my.cfg", f"{PREFIX}my.plan.json", f"{PREFIX}last.weights",
    }  # fmt: skip
    assert {path: path.read_bytes() for path in (cfg, weights)} == before
    if form == "bare":
        assert names(tmp_path) == names(folder)


def test_cfg_and_weights_in_different_folders(tmp_path: Path) -> None:
    cfg, _ = make_inputs(tmp_path / "cfg")
    _, weights = make_inputs(tmp_path / "weights")
    found = prune_files(cfg, weights)
    assert found.cfg_path == tmp_path / "cfg" / f"{PREFIX}my.cfg"
    assert found.weights_path == tmp_path / "weights" / f"{PREFIX}last.weights"
    assert f"{PREFIX}last.weights" not in names(tmp_path / "cfg")


def test_the_files_are_the_pruned_network(tmp_path: Path) -> None:
    cfg, weights = make_inputs(tmp_path)
    found = prune_files(cfg, weights)
    model = Darknet(found.cfg_path).load_weights(found.weights_path)
    assert model.seen == 12345
    assert all(torch.equal(model.state_dict()[key], found.state[key]) for key in found.state)
    assert found.weights_path.read_bytes()[:12] == struct.pack("<iii", 0, 2, 5)
    assert found.weights_path.stat().st_size == found.after.file_bytes
    assert found.after.parameters < 0.8 * found.before.parameters
    assert found.after.macs < found.before.macs
    written = found.cfg_path.read_bytes()
    assert written.isascii()
    assert b"\r" not in written
    kinds = [layer.kind for layer in load_cfg(found.cfg_path).layers]
    assert kinds == [layer.kind for layer in TINY.layers]
    # Control: they do not fit the original.
    assert load_darknet_weights(weights, Darknet(cfg).rules)
    assert found.weights_path.stat().st_size < weights.stat().st_size


@pytest.mark.parametrize("sparse", [True, False])
def test_the_teacher_it_names_is_the_network_before_sparse_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sparse: bool
) -> None:
    cfg, weights = make_inputs(tmp_path)
    base = tmp_path / "base.pt"
    base.touch()
    args = {"weights": str(base), "sparsity_regularization": sparse}
    (tmp_path / "args.json").write_text(json.dumps(args))
    prune_files(cfg, weights)
    assert f"--t-weights {base if sparse else weights} " in capsys.readouterr().out


@pytest.mark.parametrize("text", ["{", "[]", '{"sparsity_regularization": true, "weights": 3}'])
def test_an_args_json_that_says_nothing_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "args.json").write_text(text)
    assert started_from(tmp_path / "last.pt") == ""


def test_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg, weights = make_inputs(tmp_path)
    found = prune_files(cfg, weights)
    said = capsys.readouterr().out
    assert re.search(rf"Threshold on .*: {found.plan.threshold:.6f};", said)
    assert "Gate passed: all 7 layers equal the masked network's" in said
    assert "no batch normalisation to judge its channels by" in said
    for word in ("Parameters", f"{found.before.parameters:,}", f"{found.after.parameters:,}"):
        assert word in said
    assert f"Wrote {found.cfg_path}\n" in said
    assert f"Wrote {found.weights_path}\n" in said


def test_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg, weights = make_inputs(tmp_path)
    before = names(tmp_path)
    found = prune_files(cfg, weights, "--dry-run")
    assert names(tmp_path) == before
    assert found.after.parameters < found.before.parameters
    said = capsys.readouterr().out
    assert "nothing was written" in said
    assert "Wrote" not in said


def test_files_of_an_earlier_run_stay_unless_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg, weights = make_inputs(tmp_path)
    for name in (f"{PREFIX}my.cfg", f"{PREFIX}last.weights"):
        earlier = tmp_path / name
        earlier.write_bytes(b"mine")
        message = refusal(monkeypatch, capsys, cfg, weights)
        assert f"{earlier}: exists already; --force overwrites it" in message
        assert earlier.read_bytes() == b"mine"
        prune_files(cfg, weights, "--dry-run")
        prune_files(cfg, weights, "--force")
        assert earlier.read_bytes() != b"mine"
        for written in (f"{PREFIX}my.cfg", f"{PREFIX}last.weights"):
            (tmp_path / written).unlink()


def test_another_size_of_input(tmp_path: Path) -> None:
    """MACs are those of `--img-size`; the files are the same, bit for bit."""
    cfg, weights = make_inputs(tmp_path)
    square = prune_files(cfg, weights)
    files = [path.read_bytes() for path in (square.cfg_path, square.weights_path)]
    wide = prune_files(cfg, weights, "--img-size", "32", "96", "--force")
    assert wide.before.macs == 3 * square.before.macs
    assert [path.read_bytes() for path in (wide.cfg_path, wide.weights_path)] == files


# -- when it fails ---------------------------------------------------------------------------------


def refusal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cfg: Path | str,
    weights: Path | str,
    *flags: str,
) -> str:
    """The one line on stderr of a command that ends with exit code 2."""
    argv = ["--cfg", str(cfg), "--weights", str(weights), "--global-percent=0.5"]
    monkeypatch.setattr(sys, "argv", ["slim_prune.py", *argv, "--layer-keep", "0.1", *flags])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        run_main(slim_prune.main)
    assert end.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def fill_with_nan(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:20] + np.full(8, np.nan, "<f4").tobytes() + data[52:])


def spoil_cfg(path: Path) -> None:
    text = path.read_bytes()
    path.write_bytes(text.replace(b"activation=leaky", b"activation=laeky", 1))


@pytest.mark.parametrize(
    ("spoil", "which", "message"),
    [
        (cut_short, "weights", "2 numbers are missing"),
        (fill_with_nan, "weights", "layers.0.bn.bias holds 8 values that are not finite numbers"),
        (spoil_cfg, "cfg", "[convolutional] activation: unknown activation 'laeky'"),
        (Path.unlink, "cfg", "my.cfg: no such file (the cfg)"),
        (Path.unlink, "weights", "last.weights: no such file (the weights)"),
    ],
)
def test_bad_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: Any,
    which: str,
    message: str,
) -> None:
    cfg, weights = make_inputs(tmp_path)
    path = {"cfg": cfg, "weights": weights}[which]
    spoil(path)
    before = names(tmp_path)
    line = refusal(monkeypatch, capsys, cfg, weights)
    assert line.startswith(f"error: {path}")
    assert message in line
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--global-percent", "1.5"], "must lie between 0 and 1, got 1.5"),
        (["--layer-keep", "x"], "--layer-keep: invalid ratio value: 'x'"),
        (["--img-size", "0"], "must be at least 1"),
        (["--img-size", "1", "2", "3"], "--img-size takes one number or two"),
        (["--share", "0.5"], "unrecognized arguments: --share 0.5"),
        (["--data", "none.data"], "error: none.data: "),
    ],
)
def test_bad_flags(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    cfg, weights = make_inputs(tmp_path)
    before = names(tmp_path)
    assert message in refusal(monkeypatch, capsys, cfg, weights, *flags)
    assert names(tmp_path) == before


def test_nothing_is_written_when_the_gate_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Convolutional._slice_kernel

    def wrong(self: Convolutional, *args: Any) -> torch.Tensor:
        return right(self, *args).flip(0)

    cfg, weights = make_inputs(tmp_path)
    before = names(tmp_path)
    monkeypatch.setattr(Convolutional, "_slice_kernel", wrong)
    with pytest.raises(GateError, match="nothing was written"):
        prune_files(cfg, weights)
    assert names(tmp_path) == before
    monkeypatch.undo()
    prune_files(cfg, weights)


@pytest.mark.parametrize("broken", ["save_checked_weights", "save_cfg"])
def test_a_failed_write_leaves_neither_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    cfg, weights = make_inputs(tmp_path)
    before = names(tmp_path)
    monkeypatch.setattr(sys.modules["utils.pruning.command.outputs"], broken, full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)$"):
        prune_files(cfg, weights)
    assert names(tmp_path) == before


def test_as_a_command(tmp_path: Path, root: Path) -> None:
    """From the clone, as the README says; bad input ends with exit code 2 and no traceback."""
    done = subprocess.run(
        [sys.executable, "slim_prune.py", "--cfg", str(tmp_path / "none.cfg"), "--weights", "a.pt"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path / 'none.cfg'}: no such file (the cfg)\n"
