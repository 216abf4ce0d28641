"""What a user of ultralytics would do: its trainer, and Torch-Pruning's GroupNorm pruner.

    PEER/bin/python benchmarks/peers/torch_pruning_recipe.py --model yolov8n.pt --data data.yaml \\
        --img-size 320 --batch-size 16 --base-epochs 8 --sparse-epochs 10 --finetune-epochs 20 \\
        --keep 0.25 --seed 0 --output runs/recipes/peer

Runs in an environment of its own (ultralytics 8.4.190, torch-pruning 1.6.1) and imports nothing of
this repository. A training on the data, one with the pruner's growing regularisation of groups, the
cut to a share of the parameters (GroupNorm importance over all layers, the smallest ratio that gets
there by bisection; the convolutions that put out boxes and classes stay whole), and a finetuning,
all with the trainer's own defaults. The last epoch's averaged weights are scored by the trainer's
own validator on `val:`. Where the pruner cannot take the network as it is, each C2f block's first
convolution, whose output is chunked in two, is written as two, which computes the same; result.json
says so. Stages that are there are not done again.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch_pruning as tp
from torch import nn
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator
from ultralytics.nn.modules import C2f, Conv, Detect
from ultralytics.nn.tasks import load_checkpoint

STEPS = 12  # of the bisection over ratios
LEAST_CHANGE = 1e-3  # of an output, relative to its largest, that no rewriting may cause


class TwoConvolutions(nn.Module):
    """A C2f block whose first convolution is two: what they put out is not chunked."""

    def __init__(self, block: C2f) -> None:
        super().__init__()
        self.left, self.right = (_half(block.cv1, number) for number in (0, 1))
        self.m, self.cv2 = block.m, block.cv2
        for name in ("i", "f", "type", "np"):  # what the model's own loop reads of each layer
            if hasattr(block, name):
                setattr(self, name, getattr(block, name))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the block's."""
        found = [self.left(x), self.right(x)]
        for part in self.m:
            found.append(part(found[-1]))
        out: torch.Tensor = self.cv2(torch.cat(found, 1))
        return out


def _half(whole: Conv, number: int) -> Conv:
    """One half of the filters of a convolution with its batch normalisation."""
    conv, norm = whole.conv, whole.bn
    width = conv.out_channels // 2
    half = Conv(conv.in_channels, width, conv.kernel_size[0], conv.stride[0], act=whole.act)
    kept = slice(number * width, (number + 1) * width)
    half.conv.weight.data.copy_(conv.weight.data[kept])
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(half.bn, name).data.copy_(getattr(norm, name).data[kept])
    half.bn.eps, half.bn.momentum = norm.eps, norm.momentum
    return half


def rewritten(model: nn.Module, size: int) -> nn.Module:
    """The model with `TwoConvolutions`; raises RuntimeError where it computes something else."""
    other = copy.deepcopy(model)
    for parent in list(other.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, C2f):
                setattr(parent, name, TwoConvolutions(child))
    image = torch.rand(1, 3, size, size)
    with torch.no_grad():
        a, b = (each.eval()(image)[0] for each in (model, other))
    if (a - b).abs().max() > LEAST_CHANGE * a.abs().max():
        raise RuntimeError("the rewritten network computes something else")
    return other


def make_pruner(model: nn.Module, size: int, ratio: float) -> Any:
    """The GroupNorm pruner; what puts out boxes and classes stays."""
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    kept: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, Detect):
            kept += [branch[-1] for branch in (*module.cv2, *module.cv3)]
            kept.append(module.dfl)
    return tp.pruner.GroupNormPruner(
        model,
        torch.rand(1, 3, size, size),
        importance=tp.importance.GroupMagnitudeImportance(),
        global_pruning=True,
        pruning_ratio=ratio,
        max_pruning_ratio=0.98,
        ignored_layers=kept,
    )


def parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(each.numel() for each in model.parameters())


def cut(model: nn.Module, size: int, share: float) -> nn.Module:
    """The model with at most a share of its parameters. Raises RuntimeError where that is none."""
    most, low, high, found = share * parameters(model), 0.0, 1.0, None
    for _ in range(STEPS):
        ratio = (low + high) / 2
        trial = copy.deepcopy(model)
        make_pruner(trial, size, ratio).step()
        if parameters(trial) <= most:
            high, found = ratio, trial
        else:
            low = ratio
    if found is None:
        raise RuntimeError(f"no ratio leaves {share:.1%} of the parameters")
    found.eval()(torch.rand(1, 3, size, size))
    return found


class Trainer(DetectionTrainer):  # type: ignore[misc]
    """ultralytics' trainer of a network that is there, with a pruner's regularisation if any."""

    pruner: Any = None

    def optimizer_step(self) -> None:
        """The pruner's gradients, then the step."""
        if self.pruner is not None:
            self.pruner.regularize(self.model)
        super().optimizer_step()


def trained(args: argparse.Namespace, model: nn.Module, name: str, pulls: bool) -> nn.Module:
    """The averaged weights after all epochs of a stage; what is there is not done again."""
    done = args.output / f"{name}.pt"
    if not done.is_file():
        overrides = {
            "model": "yolov8n.yaml", "data": str(args.data), "imgsz": args.img_size,
            "epochs": getattr(args, f"{name}_epochs"), "batch": args.batch_size,
            "seed": args.seed, "device": "cpu", "workers": 0, "amp": False, "plots": False,
            "val": False, "exist_ok": True, "project": str(args.output), "name": name,
            "verbose": False,
        }  # fmt: skip
        trainer = Trainer(overrides=overrides)
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        trainer.model = model.float().train()
        if pulls:
            trainer.pruner = make_pruner(model, args.img_size, 0.5)
            trainer.add_callback(
                "on_train_epoch_start", lambda own: own.pruner.update_regularizer()
            )
        trainer.train()
        torch.save({"model": trainer.ema.ema.float().eval()}, done)
    loaded: nn.Module = load_checkpoint(str(done))[0]
    return loaded


def started(args: argparse.Namespace, classes: int) -> nn.Module:
    """The network with as many classes as the data, from the weights that are named."""
    model = YOLO(args.model)
    trainer = Trainer(overrides={"model": args.model, "data": str(args.data), "device": "cpu"})
    weights = model.model if str(args.model).endswith(".pt") else None
    trainer.data["nc"] = classes
    own: nn.Module = trainer.get_model(cfg=model.model.yaml, weights=weights, verbose=False)
    return own


def scored(args: argparse.Namespace, model: nn.Module) -> tuple[float, float]:
    """mAP@.5 and mAP@.5:.95 by ultralytics' validator."""
    overrides = {
        "data": str(args.data), "imgsz": args.img_size, "batch": args.batch_size, "device": "cpu",
        "workers": 0, "plots": False, "project": str(args.output), "name": "val", "exist_ok": True,
    }  # fmt: skip
    validator = DetectionValidator(args=overrides)
    found = validator(model=copy.deepcopy(model))
    return found["metrics/mAP50(B)"], found["metrics/mAP50-95(B)"]


def attempted(take: Callable[[], object]) -> str:
    """What a call raised, in a line; "" where it went well."""
    try:
        take()
    except Exception as error:  # whatever it is: it is what a user would see
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return ""


def main() -> None:
    """Do what is left, and write result.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, help="a .pt or .yaml of ultralytics")
    add("--data", type=Path, required=True, help="data.yaml")
    add("--img-size", type=int, default=320)
    add("--batch-size", type=int, default=16)
    for stage in ("base", "sparse", "finetune"):
        add(f"--{stage}-epochs", type=int, required=True)
    add("--keep", type=float, required=True, help="share of the parameters")
    add("--seed", type=int, default=0)
    add("--output", type=Path, required=True, help="goes on with what lies there")
    args = parser.parse_args()
    args.output = args.output.resolve()
    args.output.mkdir(parents=True, exist_ok=True)
    began, size = time.monotonic(), args.img_size
    classes = len(_names(args.data))
    base = trained(args, started(args, classes), "base", pulls=False)
    raised = attempted(lambda: make_pruner(copy.deepcopy(base), size, 0.5).step())
    if raised:
        base = rewritten(base, size)
    sparse = trained(args, copy.deepcopy(base), "sparse", pulls=True)
    small = cut(sparse, size, args.keep)
    tuned = trained(args, small, "finetune", pulls=False)
    map50, map_ = scored(args, tuned)
    result = {
        "parameters": parameters(tuned),
        "of": parameters(base),
        "map50": map50,
        "map": map_,
        "base_map50": scored(args, base)[0],
        "minutes": (time.monotonic() - began) / 60,
        "unchanged network raised": raised,
    }
    text = json.dumps(result, indent=1)
    (args.output / "result.json").write_text(text + "\n")
    print(text)


def _names(data: Path) -> list[str]:
    from ultralytics.data.utils import check_det_dataset

    return list(check_det_dataset(str(data))["names"].values())


if __name__ == "__main__":
    main()
