"""How fast a training step is, against plain float32 and against the machine's own arithmetic.

    python -m benchmarks.train_step                      # yolov3-tiny, batch 8, 416 px
    python -m benchmarks.train_step --cfg cfg/yolov4-tiny.cfg --batch-size 4 --rounds 5

Each variant runs in a process of its own, all of them in turn, round after round, so that a
machine whose speed drifts is as unfair to one as to the other. A step is what train.py does with a
batch that is there already: forward, loss, backward, clipping, optimizer, moving average; of sparse
training also the pull.
Operations are counted as 3 x 2 x MACs (forward, gradients of inputs and of kernels) and compared
with the rate of one large matrix product in the same type.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from models import Darknet
from slim_prune import STRATEGY
from utils.command.cli import Parser, add_img_size, img_size, positive_int, run_main
from utils.command.machine.allocator import keep_freed_memory
from utils.command.machine.device import pick_device
from utils.command.machine.timing import synchronize
from utils.command.table import table
from utils.network.cost import count_macs
from utils.network.initialize import initialize
from utils.pruning.choice.coupled_targets import coupled_targets
from utils.pruning.targets import sparsity_targets
from utils.training.losses.loss import DetectionLoss, total
from utils.training.optimization.ema import make_ema
from utils.training.optimization.optimizer import make_optimizer
from utils.training.optimization.options import Amp
from utils.training.optimization.precision import resolve_precision
from utils.training.sparse.coupled import CoupledPull
from utils.training.sparse.options import SparsityPenalty
from utils.training.sparse.pull import Sparsity

TARGETS_PER_IMAGE = 8
MATRIX = 2048


@dataclass(frozen=True)
class Variant:
    """One way to run the step."""

    amp: Amp
    channels_last: bool
    keep_memory: bool
    fused: bool = True
    pull: SparsityPenalty | None = None  # of sparse training


VARIANTS = {
    "plain float32": Variant("off", channels_last=False, keep_memory=False, fused=False),
    "float32 channels-last": Variant("off", channels_last=True, keep_memory=False),
    "float32 channels-last, kept memory": Variant("off", channels_last=True, keep_memory=True),
    "bfloat16": Variant("bf16", channels_last=False, keep_memory=False),
    "bfloat16 channels-last": Variant("bf16", channels_last=True, keep_memory=False),
    "default path of train.py": Variant("auto", channels_last=True, keep_memory=True),
    **{
        f"with a pull: {penalty}": Variant("auto", True, True, pull=penalty)
        for penalty in ("gammas", "group-norm", "growing")
    },
}
PLAIN, DEFAULT = "plain float32", "default path of train.py"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = Parser(__doc__)
    parser.add_argument("--cfg", default="cfg/yolov3-tiny.cfg", help="structure of the model")
    parser.add_argument("--batch-size", type=positive_int, default=8, help="images per step")
    add_img_size(parser, default=(416,))
    parser.add_argument("--device", default="", help="cpu or a GPU")
    parser.add_argument("--threads", type=positive_int, help="CPU threads")
    parser.add_argument("--steps", type=positive_int, default=5, help="timed steps per round")
    parser.add_argument("--warmup", type=positive_int, default=2, help="untimed steps before them")
    parser.add_argument("--rounds", type=positive_int, default=3, help="turns of each variant")
    parser.add_argument("--only", choices=tuple(VARIANTS), help="time one variant, print JSON")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = pick_device(args.device)
    if args.only:
        print(json.dumps(time_variant(VARIANTS[args.only], args, device)))
        return
    given = list(sys.argv[1:] if argv is None else argv)
    times: dict[str, dict[str, list[float]]] = {name: {"step": [], "loss": []} for name in VARIANTS}
    for _ in tqdm(range(args.rounds), desc="rounds"):
        for name, found in times.items():
            for key, values in run_alone(name, given).items():
                found[key] += values
    report(times, args, device)


def run_alone(name: str, given: list[str]) -> dict[str, list[float]]:
    """Time a variant in a fresh process: the allocator's settings are the process's own."""
    command = [sys.executable, "-m", "benchmarks.train_step", *given, "--only", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    result: dict[str, list[float]] = json.loads(done.stdout)
    return result


def time_variant(variant: Variant, args: Any, device: torch.device) -> dict[str, list[float]]:
    """Milliseconds of each timed step, and of the loss (assignment, value, its own gradients)."""
    if variant.keep_memory:
        keep_freed_memory()
    torch.manual_seed(0)
    model = Darknet(args.cfg, img_size(args.img_size)).to(device).train()
    initialize(model.layers, model.heads)
    layout = torch.channels_last if variant.channels_last else torch.contiguous_format
    model.to(memory_format=layout)  # type: ignore[call-overload]
    images = torch.rand(args.batch_size, 3, *model.img_size, device=device)
    step = make_step(model, variant, images.to(memory_format=layout))
    loss_ms: list[float] = []
    for _ in range(args.warmup):
        step(loss_ms)
    loss_ms.clear()
    step_ms = [milliseconds(lambda: step(loss_ms)) for _ in range(args.steps)]
    return {"step": step_ms, "loss": loss_ms}


def make_step(model: Darknet, variant: Variant, images: Tensor) -> Callable[[list[float]], None]:
    """A function that trains on the images once, and appends how long the loss took."""
    targets = random_targets(len(images), model.nc).to(images.device)
    criterion, ema = DetectionLoss(model.heads), make_ema(model)
    precision = resolve_precision(variant.amp, images.device)
    parameters = list(model.parameters())
    optimizer = make_optimizer(model, "sgd", 1e-3, 0.9, 5e-4)
    if not variant.fused:
        optimizer = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, nesterov=True)
    size = (images.shape[2], images.shape[3])
    pull = make_pull(model, variant.pull)

    def step(loss_ms: list[float]) -> None:
        with precision.autocast():
            raw = model(images)
        synchronize()
        start = time.perf_counter()
        leaves = [x.detach().requires_grad_() for x in raw]
        total(criterion(leaves, targets, size)).backward()  # type: ignore[no-untyped-call]
        synchronize()
        loss_ms.append((time.perf_counter() - start) * 1e3)
        torch.autograd.backward(raw, [leaf.grad for leaf in leaves])
        nn.utils.clip_grad_norm_(parameters, 10.0)
        pull.add_grad_(0.5)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ema.update_parameters(model)

    return step


def make_pull(model: Darknet, penalty: SparsityPenalty | None) -> Sparsity:
    """On what slim_prune may remove; on nothing without a penalty."""
    if penalty is None:
        return Sparsity([], 0.0)
    if penalty == "gammas":
        return Sparsity(sparsity_targets(model, STRATEGY), 1e-3)
    return CoupledPull(coupled_targets(model, STRATEGY), 1e-3, growing=penalty == "growing")


def random_targets(images: int, nc: int) -> Tensor:
    """(T, 6) image, class, xc, yc, w, h: boxes of a tenth to half of the picture."""
    generator = torch.Generator().manual_seed(0)
    count = images * TARGETS_PER_IMAGE
    image = torch.arange(images).repeat_interleave(TARGETS_PER_IMAGE)[:, None]
    classes = torch.randint(nc, (count, 1), generator=generator)
    size = 0.1 + 0.4 * torch.rand(count, 2, generator=generator)
    centre = size / 2 + (1 - size) * torch.rand(count, 2, generator=generator)
    return torch.cat((image, classes, centre, size), 1)


def matrix_gflops(dtype: torch.dtype, device: torch.device, runs: int = 15) -> float:
    """Rate of a square matrix product, the median of several."""
    a, b = (torch.randn(MATRIX, MATRIX, device=device).to(dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    median_ms = float(np.median([milliseconds(lambda: a @ b) for _ in range(runs)]))
    return 2 * MATRIX**3 / median_ms / 1e6


def milliseconds(call: Callable[[], object]) -> float:
    """How long a call takes, what it queued on a GPU included."""
    synchronize()
    start = time.perf_counter()
    call()
    synchronize()
    return (time.perf_counter() - start) * 1e3


def report(times: dict[str, dict[str, list[float]]], args: Any, device: torch.device) -> None:
    """Print rates, one line per variant, and the two figures that count."""
    rates = {d: matrix_gflops(d, device) for d in (torch.float32, torch.bfloat16)}
    model = Darknet(args.cfg, img_size(args.img_size))
    gflop = 3 * 2 * count_macs(model.rules) * args.batch_size / 1e9
    plain = float(np.median(times[PLAIN]["step"]))
    rows = [("variant", "ms (10..90 %)", "images/s", "x plain", "of its matrix rate", "loss")]
    for name, found in times.items():
        p10, median, p90 = np.percentile(found["step"], (10, 50, 90))
        dtype = resolve_precision(VARIANTS[name].amp, device).dtype
        share = gflop / median * 1e3 / rates.get(dtype, rates[torch.bfloat16])
        loss_share = float(np.median(found["loss"])) / median
        rows.append(
            (
                name,
                f"{median:.0f} ({p10:.0f}..{p90:.0f})",
                f"{args.batch_size / median * 1e3:.1f}",
                f"{plain / median:.2f}",
                f"{share:.0%}",
                f"{loss_share:.1%}",
            )
        )
    print(table(rows))
    height, width = model.img_size
    print(
        f"{args.cfg}, batch {args.batch_size}, {height} x {width} px, {gflop:.0f} GFLOP a step; "
        f"{device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}; "
        f"matrix product {rates[torch.float32]:.0f} GFLOP/s in float32, "
        f"{rates[torch.bfloat16]:.0f} in bfloat16"
    )


if __name__ == "__main__":
    run_main(main)
