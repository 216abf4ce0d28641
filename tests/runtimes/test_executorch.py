"""ExecuTorch: what a program tells its user, how it is opened, float and int8."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import export
from models import Darknet
from tests.support.nets import conv, head, healthy_state, image, net, section
from tests.support.tiny_data import make_set
from utils.cfg import format_cfg
from utils.command.errors import UserError
from utils.command.optional import NEEDS, missing
from utils.network.int8.convert import measure_ranges, put_on_grids
from utils.runtimes.executorch.program import ExecuTorchNetwork, save_executorch

pytestmark = pytest.mark.skipif(
    bool(missing(NEEDS["executorch"])), reason="needs executorch (pyproject.toml: executorch)"
)
MODEL = ["--cfg", "my.cfg", "--weights", "my.weights"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """my.cfg, my.weights and my.data in the current folder."""
    monkeypatch.chdir(tmp_path)
    cfg = net(conv(8, stride=2, activation="swish"), section("maxpool", size=2, stride=1),
              conv(8, stride=2), head(), width=64, height=96)  # fmt: skip
    Path("my.cfg").write_text(format_cfg(cfg))
    model = Darknet("my.cfg")
    model.load_state(healthy_state(model))
    model.save_weights("my.weights")
    make_set(tmp_path, 4)
    Path("my.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\nnames=my.names\n")
    Path("my.names").write_text("cat\ndog\n", encoding="utf-8")
    return tmp_path


def test_a_program_computes_what_the_network_does(here: Path) -> None:
    words = [*MODEL, "--format", "executorch", "--data", "my.data", "--output", "a"]
    done = export.main(words)
    assert done.files == (Path("a.pte"),)
    assert done.agreement.difference < 1e-4 and done.agreement.moved == 0
    network = Darknet("my.cfg").load_weights("my.weights").eval()
    opened = ExecuTorchNetwork("a.pte", network)
    assert opened.names == ("cat", "dog")
    with pytest.raises(UserError, match="made for 64x96"):
        opened(torch.zeros(1, 3, 64, 64))
    done = export.main([*words[:-1], "b", "--int8"])
    assert done.files[0].read_bytes() != Path("a.pte").read_bytes()
    assert [name for name, _ in done.worth] == ["float32 (PyTorch)", "int8 (executorch)"]


def test_a_program_in_int8_computes_the_rounded_network(here: Path) -> None:
    network = Darknet("my.cfg").load_weights("my.weights").eval()
    put_on_grids(network)
    measure_ranges(network, [image(network)])
    save_executorch(network, Path("a.pte"), {})
    images = image(network, seed=3)
    plain = Darknet("my.cfg").load_weights("my.weights").eval()
    opened = ExecuTorchNetwork("a.pte", plain)
    with torch.no_grad():
        rounded, in_float = network.fuse()(images), plain(images)
    found = opened(images)
    error = float((found - rounded).abs().mean())
    assert error < 0.2 * float((in_float - rounded).abs().mean())  # negative control: not float


def test_what_is_no_program(here: Path) -> None:
    Path("a.pte").write_bytes(b"no program at all" * 9)
    network = Darknet("my.cfg").load_weights("my.weights")
    with pytest.raises(UserError, match="cannot open it"):
        ExecuTorchNetwork("a.pte", network)
