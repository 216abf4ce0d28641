"""What a cfg says is known without tensors: torch loads when a network is built, and works then."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

LIGHT = (
    "utils.describe.layers",
    "utils.describe.network",
    "utils.network.for_data.anchors",
    "utils.network.cost",
    "utils.network.graph",
    "utils.network.layers",
    "utils.network.receptive_field",
    "utils.network.for_data.retarget",
    "utils.pictures.diagram",
    "utils.pruning.blocks",
    "utils.pruning.candidates",
    "utils.pruning.structure",
    "utils.zoo",
)

READ = """
import sys
from utils.cfg import load_cfg
from utils.network.cost import count_bflops, count_parameters
from utils.network.graph import channel_graph
from utils.network.layers import build_layers
from utils.network.receptive_field import receptive_field_px
from utils.pictures.diagram import draw_network
from utils.pruning.structure import removable_by_structure

layers = build_layers(load_cfg("cfg/demo.cfg"))
assert count_parameters(layers) and count_bflops(layers) and draw_network(layers, "x")
assert receptive_field_px(layers, len(layers) - 1)[0] > 100
assert removable_by_structure(channel_graph(layers))[0]
"""

# Prints numbers of a network, and that tensors, its modules and its rules are themselves.
USE = """
import copy, io, pickle
import torch
from torch.utils.data import DataLoader, TensorDataset
from models import Darknet
from utils.network.layers import base, build_layers
from utils.network.layers.modules import ConvolutionModule

torch.manual_seed(0)
torch.set_num_threads(1)
model = Darknet("cfg/demo.cfg").eval()
assert base.torch is torch
assert any(isinstance(module, ConvolutionModule) for module in copy.deepcopy(model).modules())
file = io.BytesIO()
torch.save(model.state_dict(), file)
file.seek(0)
state = torch.load(file, weights_only=True)
again = Darknet("cfg/demo.cfg", weights=pickle.loads(pickle.dumps(state))).eval()
images = torch.rand(4, 3, 64, 64)
loader = DataLoader(TensorDataset(images), batch_size=2, num_workers=2)
with torch.no_grad():
    found = torch.cat([again(batch) for (batch,) in loader])
    assert torch.equal(found, model(images))
print(found.double().sum().item())
"""


def run(root: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", LIGHT)
def test_importing_leaves_torch_unloaded(root: Path, module: str) -> None:
    run(root, f"import sys, {module}\nassert 'torch' not in sys.modules")


def test_a_cfg_is_read_without_torch(root: Path) -> None:
    run(root, READ + "assert not {'torch', 'cv2', 'matplotlib'} & set(sys.modules)")


def test_networks_work_whichever_was_imported_first(root: Path) -> None:
    late, early = run(root, READ + USE), run(root, "import torch\n" + READ + USE)
    assert float(late) == float(early) != 0


def test_building_a_module_is_what_loads_it(root: Path) -> None:
    """Negative control of the other tests here."""
    run(root, READ + "layers[0].module()\nassert 'torch' in sys.modules")


def test_scripts_read_without_torch(root: Path, tmp_path: Path) -> None:
    (tmp_path / "my.data").write_text("classes=7\n")
    argv = {
        "cfginfo": ["--cfg", "cfg/yolov4-tiny.cfg", "--graph", str(tmp_path / "a.svg")],
        "make_cfg": ["--cfg", "cfg/yolov8n.cfg", "--data", str(tmp_path / "my.data"),
                     "--output", str(tmp_path / "my.cfg"), "--img-size", "320"],
    }  # fmt: skip
    for script, words in argv.items():
        code = f"import json, sys, {script}\n{script}.main(json.loads(sys.argv[1]))\n"
        code += "assert not {'torch', 'cv2', 'matplotlib'} & set(sys.modules)"
        command = [sys.executable, "-c", code, json.dumps(words)]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert 'classes": 7' in (tmp_path / "my.cfg").read_text()
    assert (tmp_path / "a.svg").read_text().startswith("<svg")


def loads_torch(source: str) -> list[str]:
    """Imports of torch, or of what is inside it, that are not put off."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        found += [name for name in names if name.split(".")[0] == "torch"]
    return found


def test_layers_put_torch_off(root: Path) -> None:
    """All but `modules.py`, which they import where they build or run a module."""
    files = {path.name: path for path in (root / "utils/network/layers").glob("*.py")}
    found = {name for name, path in files.items() if loads_torch(path.read_text("utf-8"))}
    assert found == {"modules.py"}
    for path in files.values():
        top = ast.parse(path.read_text("utf-8")).body
        assert "modules" not in [n.module for n in top if isinstance(n, ast.ImportFrom)], path
    assert loads_torch("import torch.nn.functional as F") and loads_torch("from torch import nn")
    assert not loads_torch("from ...command.later import torch")
