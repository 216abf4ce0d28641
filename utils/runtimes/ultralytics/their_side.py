"""What runs in the interpreter that has ultralytics: builds, fills, saves, opens and runs.

    python their_side.py JOB.json

The network is built by the library from its own description; modules take the widths and numbers
that the job names; the checkpoint is opened again as a user opens it, and run on the job's images.
Nothing of this program is imported here: that interpreter need not have it. What goes wrong is
the last line of stderr.
"""

from __future__ import annotations

import importlib
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

_HEADS = {"": "one2many", "one2one_": "one2one"}


def main(job_path: str) -> None:
    """Do the job of the file; its answer is `answer.npz` beside it."""
    folder = Path(job_path).parent
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    arrays = np.load(folder / "numbers.npz", allow_pickle=False)
    library = importlib.import_module("ultralytics")
    model = built(job)
    filled = fill(model, job, arrays)
    leave_out_heads(model, filled)
    require_all(model, filled)
    finish(model, job)
    save(model, library.__version__, job, folder / "model.pt")
    network = library.YOLO(str(folder / "model.pt")).model.eval()
    with torch.no_grad():
        found = network(torch.from_numpy(arrays["images"]))
    found = found[0] if isinstance(found, (tuple, list)) else found
    parameters = sum(p.numel() for p in network.parameters())
    np.savez(
        folder / "answer.npz",
        found=found.numpy(),
        version=np.array(library.__version__),
        parameters=np.array(parameters),
    )


def built(job: dict[str, Any]) -> Any:
    """The library's network of its description, at full width."""
    tasks = importlib.import_module("ultralytics.nn.tasks")
    return tasks.DetectionModel(
        job["description"], ch=job["channels"], nc=job["classes"], verbose=False
    )


def fill(model: Any, job: dict[str, Any], arrays: Any) -> set[str]:
    """Give every module its widths and numbers; returns those that were filled."""
    filled = set()
    for number, told in enumerate(job["numbers"]):
        found = {name: torch.from_numpy(arrays[f"{number}/{name}"]) for name in told["arrays"]}
        name, part = told["module"], told["part"]
        if part == "scale":
            owner = module_at(model, name.rpartition(".")[0])
            owner.gamma = torch.nn.Parameter(found["kernel"].flatten())
            continue
        module = module_at(model, name)
        if part == "branches":
            filled |= fill_branches(module, name, told["groups"], found, job["eps"])
        elif part == "transposed":
            filled.add(fill_transposed(model, name, found))
        else:
            fill_conv(model, module, name, told["groups"], found, job["eps"])
            filled.add(name if isinstance(module, torch.nn.Conv2d) else f"{name}.conv")
    for name, values in job["attributes"].items():
        module = module_at(model, name)
        for attribute, value in values.items():
            if hasattr(module, attribute):
                setattr(module, attribute, value)
    return filled


def module_at(model: Any, name: str) -> Any:
    """Of the list of blocks."""
    found = model.model
    for word in name.split("."):
        found = getattr(found, word, None)
        if found is None:
            raise SystemExit(f"the library builds no module {name} from this description")
    return found


def split_name(model: Any, name: str) -> tuple[Any, str]:
    """The module that holds it, and what it is called there."""
    owner, _, last = name.rpartition(".")
    return (module_at(model, owner) if owner else model.model), last


def fill_conv(
    model: Any, module: Any, name: str, groups: int, found: dict[str, Any], eps: float
) -> None:
    """A bare convolution is replaced in its place; in a block, its convolution and its BN."""
    if isinstance(module, torch.nn.Conv2d):
        owner, last = split_name(model, name)
        setattr(owner, last, conv_of(module, groups, found))
        return
    bare = {"kernel": found["kernel"]}
    module.conv = conv_of(module.conv, groups, bare)
    module.bn = bn_of(module.bn, found, eps)


def conv_of(old: Any, groups: int, found: dict[str, Any]) -> Any:
    """A convolution like `old` with other filters."""
    kernel, bias = found["kernel"], found.get("bias")
    fresh: Any = torch.nn.Conv2d(
        kernel.shape[1] * groups,
        kernel.shape[0],
        old.kernel_size,
        old.stride,
        old.padding,
        old.dilation,
        groups,
        bias=bias is not None,
    )
    if fresh.weight.shape != kernel.shape:
        raise SystemExit(
            f"a kernel of {tuple(kernel.shape)} where the library has {tuple(fresh.weight.shape)}"
        )
    with torch.no_grad():
        fresh.weight.copy_(kernel)
        if bias is not None:
            fresh.bias.copy_(bias)
    return fresh


def bn_of(old: Any, found: dict[str, Any], eps: float) -> Any:
    """With our numbers; where ours has a bias alone, one that adds it and changes nothing else."""
    count = len(found["kernel"])
    normalized = "gamma" in found
    fresh: Any = torch.nn.BatchNorm2d(count, eps=eps if normalized else 0.0, momentum=old.momentum)
    with torch.no_grad():
        if normalized:
            fresh.weight.copy_(found["gamma"])
            fresh.running_mean.copy_(found["mean"])
            fresh.running_var.copy_(found["variance"])
        fresh.bias.copy_(found["beta"] if normalized else found["bias"])
    return fresh


def fill_branches(
    module: Any, name: str, groups: int, found: dict[str, Any], eps: float
) -> set[str]:
    """Parallel convolutions: the largest takes all, the others add nothing."""
    children = dict(module.named_children())
    main = "conv" if "conv" in children else "conv1"
    others = [key for key in ("conv1", "conv2") if key in children and key != main]
    fill_conv(None, children[main], name, groups, found, eps)
    for key in others:
        block = children[key]
        size = block.conv.kernel_size
        zeros = {"kernel": torch.zeros(*found["kernel"].shape[:2], *size)}
        zeros["bias"] = torch.zeros(len(found["kernel"]))
        fill_conv(None, block, name, groups, zeros, eps)
    if children.get("bn") is not None:
        module.bn = None
    return {f"{name}.{key}.conv" for key in (main, *others)}


def fill_transposed(model: Any, name: str, found: dict[str, Any]) -> str:
    """Our filters are (row, column, filter): theirs are (input, filter, row, column).

    Theirs has one bias for all cells of a block. Where constants of removed channels made several,
    a plain convolution whose channels are shuffled into cells takes its place. Returns the name of
    the convolution.
    """
    module = module_at(model, name)
    rows, columns = module.kernel_size
    kernel, cells = found["kernel"], rows * columns
    filters, inputs = len(kernel) // cells, kernel.shape[1]
    biases = found["bias"].view(cells, filters)
    if torch.equal(biases, biases[:1].expand_as(biases)):
        turned = kernel.view(rows, columns, filters, inputs).permute(3, 2, 0, 1).contiguous()
        module.in_channels, module.out_channels = inputs, filters
        module.weight = torch.nn.Parameter(turned)
        module.bias = torch.nn.Parameter(biases[0].clone())
        return name
    order = torch.arange(len(kernel)).view(cells, filters).T.flatten()  # (filter, row, column)
    conv = torch.nn.Conv2d(inputs, len(kernel), 1)
    with torch.no_grad():
        conv.weight.copy_(kernel[order])
        conv.bias.copy_(found["bias"][order])  # type: ignore[union-attr]
    shuffled: Any = torch.nn.Sequential(conv, torch.nn.PixelShuffle(rows))
    for attribute in ("i", "f", "type", "np"):  # by which the library finds a block's sources
        if hasattr(module, attribute):
            setattr(shuffled, attribute, getattr(module, attribute))
    owner, last = split_name(model, name)
    setattr(owner, last, shuffled)
    return f"{name}.0"


def leave_out_heads(model: Any, filled: set[str]) -> None:
    """Sets of branches that nobody filled are none: the library does the same when it fuses."""
    place = len(model.model) - 1
    detect = model.model[-1]
    for prefix in _HEADS:
        if not any(name.startswith(f"{place}.{prefix}cv2.") for name in filled):
            for key in ("cv2", "cv3"):
                if getattr(detect, prefix + key, None) is not None:
                    setattr(detect, prefix + key, None)


def require_all(model: Any, filled: set[str]) -> None:
    """No convolution may keep the random numbers that it was built with."""
    kinds = (torch.nn.Conv2d, torch.nn.ConvTranspose2d)
    for name, module in model.model.named_modules():
        trained = any(p.requires_grad for p in module.parameters(recurse=False))
        if isinstance(module, kinds) and trained and name not in filled:
            raise SystemExit(f"the library's module {name} has no numbers here")


def finish(model: Any, job: dict[str, Any]) -> None:
    """Class names, strides and the settings of a checkpoint."""
    utils = importlib.import_module("ultralytics.utils")
    model.names = dict(enumerate(job["names"]))
    model.args = {**utils.DEFAULT_CFG_DICT, "imgsz": job["side_px"], "task": "detect"}
    model.task = "detect"
    model.eval()


def save(model: Any, version: str, job: dict[str, Any], path: Path) -> None:
    """A checkpoint as the library's own, in float32."""
    torch.save(
        {
            "epoch": -1,
            "model": model,
            "ema": None,
            "optimizer": None,
            "train_args": {"imgsz": job["side_px"], "task": "detect"},
            "date": datetime.now().isoformat(),
            "version": version,
        },
        path,
    )


if __name__ == "__main__":
    main(sys.argv[1])
