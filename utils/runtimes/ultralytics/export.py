"""A network as a checkpoint of ultralytics, made and run by the user's own installation of it.

The library's code is AGPL-3.0 and none of it is here: its own modules are built by it, in a
process of its own, from the description that translate.py left in the cfg (their_side.py). What
comes back are arrays; nothing is unpickled in this process.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...cfg import read_note
from ...cfg.module_note import MODEL_NOTE
from ...command.errors import UserError
from ...command.folders import put_together, scratch_folder
from ...network.darknet import Network
from ...translate.blocks import families
from ..agreement import CONF_THRES, compare_outputs
from ..onnx.best import contradictions, needs_no_nms
from ..options import target_files
from ..other_python import environment, failed, interpreter
from ..real_images import Images, as_batch
from ..results import Agreement
from .numbers import ByModule, by_module

_SCRIPT = Path(__file__).with_name("their_side.py")
_SECONDS = 1800
_OF_TORCH = ("nn.Upsample", "nn.MaxPool2d", "nn.ZeroPad2d", "nn.ConvTranspose2d", "nn.Identity")
# A description may name an activation, which older versions of the library evaluate as code.
_ACTIVATION = re.compile(r"(torch\.)?nn\.(SiLU|ReLU6?|LeakyReLU|Mish|ELU|Tanh|Sigmoid|Identity)"
                         r"\((0\.\d+|inplace=True)?\)")  # fmt: skip
# Nothing is installed or fetched on the way, settings stay in the scratch folder.
_QUIET = {
    "ULTRALYTICS_SAFE_LOAD": "1", "YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true",
    "YOLO_VERBOSE": "false",
}  # fmt: skip


@torch.no_grad()
def export_ultralytics(
    network: Network,
    stem: Path,
    images: Images,
    names: Sequence[str],
    python: str,
    tolerance: float,
) -> Agreement:
    """Put STEM.pt of a loaded network in place, after the library has run it on `images`.

    Raises UserError for a network that its modules cannot hold, for results that differ from the
    network's, and where the library fails; nothing is left then.
    """
    python = interpreter("ultralytics", python)
    description = description_of(network)
    batch = as_batch(images)
    told, arrays = told_with_arrays(by_module(network.rules, network.state_dict()))
    classes = network.heads[-1].nc
    job = {
        "description": description,
        "channels": network.in_channels,
        "classes": classes,
        "names": list(names) or [f"class{k}" for k in range(classes)],
        "side_px": max(network.img_size),
        **told,
    }
    with scratch_folder(stem) as folder:
        _save(folder / "numbers.npz", {"images": batch.numpy(), **arrays})
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        _run(python, folder)
        answer = _answer(folder)
        agreement = _compared(network.eval(), batch, torch.from_numpy(answer["found"]))
        if agreement.difference > tolerance or agreement.moved:
            raise UserError(
                f"{stem}: not written, since ultralytics {answer['version']} computes something "
                f"else than PyTorch here ({agreement}; allowed: {tolerance:g})"
            )
        put_together([folder / "model.pt"], target_files(stem, "ultralytics"))
    return agreement


def told_with_arrays(found: ByModule) -> tuple[dict[str, Any], dict[str, Any]]:
    """What their side is told of the modules, and the arrays that it finds by number and name."""
    numbers = [
        {"module": one.module, "part": one.part, "groups": one.groups, "arrays": list(one.arrays)}
        for one in found.numbers
    ]
    arrays = {
        f"{number}/{name}": tensor.numpy()
        for number, one in enumerate(found.numbers)
        for name, tensor in one.arrays.items()
    }
    return {"eps": found.eps, "attributes": found.attributes, "numbers": numbers}, arrays


def description_of(network: Network) -> dict[str, Any]:
    """What the library builds it from. Raises UserError for none, or one with unknown words."""
    found = read_note(network.cfg.net, MODEL_NOTE)
    source = network.cfg.net.source
    if not isinstance(found, dict) or not all(
        isinstance(found.get(key), list) for key in ("backbone", "head")
    ):
        raise UserError(
            f"{source}: has no description of an ultralytics network: only what translate.py makes "
            "of a checkpoint (older ones: once more) can go back"
        )
    known = {*families.EMITTERS, *families.JOINERS, *_OF_TORCH}
    for row in (*found["backbone"], *found["head"]):
        block = row[2] if isinstance(row, list) and len(row) == 4 else None
        if not isinstance(block, str) or block not in known:
            raise UserError(f"{source}: its description names a block that is not translated: "
                            f"{block!s:.40}")  # fmt: skip
    activation = found.get("activation")
    if activation is not None and not _ACTIVATION.fullmatch(str(activation)):
        raise UserError(f"{source}: its description names no activation: {activation!s:.40}")
    return found


def _save(path: Path, arrays: dict[str, Any]) -> None:
    np.savez(path, **arrays)


def _run(python: str, folder: Path) -> None:
    """Their side. Raises UserError with the last line of what it says when it fails."""
    # A script's folder is where Python looks first: ours has modules of common names.
    shutil.copyfile(_SCRIPT, folder / _SCRIPT.name)
    variables = environment({**_QUIET, "YOLO_CONFIG_DIR": str(folder.resolve())})
    try:
        done = subprocess.run(
            [python, _SCRIPT.name, "job.json"],
            cwd=folder, env=variables, capture_output=True, text=True, timeout=_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{python}: cannot run ultralytics: {error}") from None
    if done.returncode:
        raise failed("ultralytics", python, done.stderr, done.returncode)


def _answer(folder: Path) -> Mapping[str, np.ndarray[Any, Any]]:
    with np.load(folder / "answer.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _compared(network: Network, batch: Tensor, found: Tensor) -> Agreement:
    """(B, 4 + nc, N) of boxes and probabilities, or the best rows (B, n, 6) without NMS."""
    expected: Tensor = network(batch)
    if not needs_no_nms(network):
        rows = found.transpose(1, 2)
        ones = torch.ones(*rows.shape[:2], 1)
        return compare_outputs(torch.cat((rows[..., :4], ones, rows[..., 4:]), 2), expected)
    wrong = sum(contradictions(*pair) for pair in zip(found, expected, strict=True))
    best = (expected[..., 4:5] * expected[..., 5:]).flatten(1).topk(found.shape[1], 1).values
    difference = float((found[..., 4] - best).abs().max() / best.max())
    sure = int((best > CONF_THRES).sum())
    return Agreement(difference, sure, wrong)
