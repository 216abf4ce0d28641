"""Kernels fitted again after a cut, layer by layer, to what the uncut network computes.

What a removed channel brought to a layer is partly told by those that stay. So each kernel behind
the cut is fitted by ridge regression, in closed form, to the outputs that the uncut network gives
for the same images; its inputs are those of the layers that were fitted before it, so that errors
do not add up. He et al., "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017,
reconstruct feature maps so; the pull is towards the kernel that is there, not towards 0.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..command.errors import UserError
from ..command.machine.device import pick_device
from ..command.progress import progress_bar
from ..detection.figures import ModelFigures, figures
from ..detection.options import Scoring
from ..network.darknet import Network
from ..network.layers import INPUT, Layer
from ..network.layers.modules import ConvolutionModule
from .options import LEAST_IMAGES
from .plan import PrunePlan

RIDGE = 0.1  # of the mean square of a patch's values: .01 and 1 gave less on YOLOv8n
PATCHES = 160  # of each image and layer, drawn at random


@dataclass(frozen=True)
class Repair:
    """What it was worth: the pruned network's figures with folding only, and after."""

    images: int
    layers: int
    folded: ModelFigures
    after: ModelFigures

    def __str__(self) -> str:
        """One line."""
        folded, after = self.folded.map50 or 0.0, self.after.map50 or 0.0
        return (
            f"{self.layers} kernels fitted again on {self.images} training images: mAP@.5 "
            f"{folded:.3f} with folding alone, {after:.3f} after"
            f"{'; without --repair it is better' if after < folded else ''}"
        )


def repair(
    network: Network,
    compact: Network,
    plan: PrunePlan,
    how: Scoring,
    images: int,
    folded: ModelFigures,
) -> tuple[Repair, Network]:
    """The pruned network repaired, and what that was worth; `folded` are its figures before.

    Raises UserError.
    """
    twin, used, layers = repaired(network, compact, plan, how, images)
    return Repair(used, layers, folded, figures(twin, how, False, folded.latency)), twin


def repaired(
    network: Network, compact: Network, plan: PrunePlan, how: Scoring, images: int
) -> tuple[Network, int, int]:
    """A copy of `compact` fitted on up to `images` training images, their number and the kernels'.

    Raises UserError when the data set has too few images, and for a plan that removes blocks.
    """
    from ..detection.training_images import training_batches  # data sets load for those who ask

    if len(network.rules) != len(compact.rules):
        raise UserError("--repair: fits kernels to the uncut network's; here blocks are gone")
    pairs = training_batches(network, how, how.batch_size, images)
    found = [batch for batch, _ in progress_bar(pairs, "reading images", "batch")]
    if sum(map(len, found)) < LEAST_IMAGES:
        raise UserError(f"--repair: {how.data} has no more than one readable training image")
    device = pick_device(how.device)
    twin, whole = (copy.deepcopy(one).eval().to(device) for one in (compact, network))
    batch = torch.cat(found)
    fitted = refit_(twin, whole, plan, batch, how.seed)
    twin.to("cpu")
    return twin, len(batch), fitted


@torch.no_grad()
def refit_(
    compact: Network, network: Network, plan: PrunePlan, images: Tensor, seed: int = 0
) -> int:
    """Fit the kernels behind the cut, in place; how many were.

    Both networks are in eval mode and walk the layers together. images: (B, C, H, W) in 0..1; B of
    them are held at each layer at once. A kernel that several layers share stays.
    """
    shared = {rule.owner for rule in network.rules if rule.owner != rule.index}
    last = {source: rule.index for rule in network.rules for source in rule.sources}
    ours: dict[int, Tensor] = {INPUT: images}
    theirs: dict[int, Tensor] = {INPUT: images}
    touched: set[int] = set()
    fitted = 0
    pairs = list(zip(compact.rules, network.rules, strict=True))
    for rule, whole in progress_bar(pairs, "fitting kernels", "layer"):
        index = rule.index
        inputs = [ours[source] for source in rule.sources]
        before = [theirs[source] for source in whole.sources]
        behind = bool(touched.intersection((*rule.sources, *whole.sources)))
        module = compact.layers[rule.owner]
        if behind and index not in shared and rule.owner == index and _can_be_fitted(module):
            kept = torch.from_numpy(plan.keep[plan.graph.issued[index]])
            places = _places(whole, len(images), seed + index)
            _fit_(module, network.layers[index], inputs[0], before[0], kept, places)
            fitted += 1
        ours[index] = rule.forward(module, inputs)
        theirs[index] = whole.forward(network.layers[whole.owner], before)
        if behind or ours[index].shape != theirs[index].shape:
            touched.add(index)
        for source in {*rule.sources, *whole.sources}:
            if last.get(source, -1) <= index:
                ours.pop(source, None)
                theirs.pop(source, None)
    return fitted


def _can_be_fitted(module: nn.Module) -> bool:
    return isinstance(module, ConvolutionModule) and module.conv.padding_mode == "zeros"


def _places(layer: Layer, images: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Image, row and column (n,) of cells of a convolution's output, drawn without replacement."""
    generator = torch.Generator().manual_seed(seed)
    height, width = layer.shape[1:]
    count = min(PATCHES, height * width)
    cells = torch.stack(
        [torch.randperm(height * width, generator=generator)[:count] for _ in range(images)]
    )
    image = torch.arange(images)[:, None].expand_as(cells).reshape(-1)
    return image, cells.reshape(-1) // width, cells.reshape(-1) % width


def _fit_(
    module: nn.Module,
    whole: nn.Module,
    x: Tensor,
    x_whole: Tensor,
    kept: Tensor,
    places: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Fit one convolution, and the mean or bias behind it, to the uncut one's outputs (n, kept)."""
    assert isinstance(module, ConvolutionModule) and isinstance(whole, ConvolutionModule)
    conv, groups = module.conv, module.conv.groups
    wanted = _outputs(whole.conv, _patches(whole.conv, x_whole, places))[:, kept]
    patches = _patches(conv, x, places)
    mean = None if module.bn is None else module.bn.running_mean
    if mean is not None and whole.bn is not None and whole.bn.running_mean is not None:
        # Folding has put what removed channels hand on into the mean.
        wanted = wanted - (whole.bn.running_mean[kept] - mean).double()
    residual = wanted - _outputs(conv, patches)
    kernel = conv.weight.double().flatten(1)
    rows = len(kernel) // groups
    shift = torch.empty(len(kernel), dtype=torch.float64, device=kernel.device)
    for group in range(groups):
        own = slice(group * rows, (group + 1) * rows)
        step, shift[own] = _ridge(patches[:, group], residual[:, own])
        kernel[own] += step.T
    conv.weight.copy_(kernel.view_as(conv.weight))
    if mean is not None:
        mean.sub_(shift)
    elif conv.bias is not None:
        conv.bias.add_(shift)


def _patches(conv: nn.Conv2d, x: Tensor, places: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """What the kernel sees at each place: float64 (n, groups, inputs per group * k * k)."""
    (pad_y, pad_x), (step_y, step_x) = _pair(conv.padding), _pair(conv.stride)
    (far_y, far_x), (size_y, size_x) = _pair(conv.dilation), _pair(conv.kernel_size)
    padded = nn.functional.pad(x, (pad_x, pad_x, pad_y, pad_y))
    image, row, column = (place.to(x.device) for place in places)
    seen = [
        padded[image, :, row * step_y + dy * far_y, column * step_x + dx * far_x]
        for dy in range(size_y)
        for dx in range(size_x)
    ]
    return torch.stack(seen, 2).double().view(len(image), conv.groups, -1)


def _outputs(conv: nn.Conv2d, patches: Tensor) -> Tensor:
    """The convolution of patches, (n, filters), in float64, its bias included."""
    kernel = conv.weight.double().view(conv.groups, -1, patches.shape[2])
    found = torch.einsum("ngk,gok->ngo", patches, kernel).flatten(1)
    return found if conv.bias is None else found + conv.bias.double()


def _ridge(x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """The step (k, outputs) of the kernel and the shift (outputs,) that explain `residual`.

    The smaller of the two systems is solved: of patches or of kernel values.
    """
    mean_x, mean_y = x.mean(0), residual.mean(0)
    x, residual = x - mean_x, residual - mean_y
    ridge = RIDGE * float(x.square().sum()) / x.shape[1] or 1.0
    if x.shape[0] < x.shape[1]:
        small = x @ x.T
        small.diagonal().add_(ridge)
        step = x.T @ torch.cholesky_solve(residual, torch.linalg.cholesky(small))
    else:
        gram = x.T @ x
        gram.diagonal().add_(ridge)
        step = torch.cholesky_solve(x.T @ residual, torch.linalg.cholesky(gram))
    return step, mean_y - mean_x @ step


def _pair(value: int | str | Sequence[int]) -> tuple[int, int]:
    assert not isinstance(value, str)
    return (value, value) if isinstance(value, int) else (value[0], value[1])
