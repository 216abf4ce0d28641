"""mask_prune.py: load, mask, score, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..cfg import format_cfg
from ..command.errors import UserError
from ..command.files import all_or_none, alone, settle
from ..detection.figures import ModelFigures, figures
from ..network.cfg_of import read_cfg
from ..network.darknet import Build, Network
from ..network.weights import State, require_usable, save_checked_weights
from .figures import cost_table, file_size, no_faster, sparsity_table
from .files import earlier_masks, save_masked
from .methods import Masks, Method, apply_masks_, make_method, mask_
from .options import MaskChoice, MaskOptions
from .targets import Target, find_targets


@dataclass(frozen=True)
class Masked:
    """The result: masks by the state's keys, the masked state, and where they were written."""

    masks: Masks
    state: State
    before: ModelFigures
    after: ModelFigures
    checkpoint: Path
    weights: Path


def method_of(choice: MaskChoice) -> Method:
    """The method of a choice. Raises UserError."""
    return make_method(choice.method, choice.n, choice.dim, choice.custom_file)


def targets_of(network: Network, choice: MaskChoice, method: Method) -> list[Target]:
    """The parameters of a choice. Raises UserError."""
    whole_outputs = method.structured and choice.dim == 0
    return find_targets(network, choice.layers, choice.parameters, whole_outputs)


def mask_network_(
    network: Network, choice: MaskChoice, earlier: Mapping[str, Tensor], rounds: int
) -> tuple[list[Target], Masks]:
    """Mask a network in place, on top of `earlier` masks; they all count. Raises UserError."""
    method = method_of(choice)
    targets = targets_of(network, choice, method)
    known = {target.key for target in targets}
    others = [t for t in find_targets(network, (), ("weight", "bias")) if t.key not in known]
    stray = set(earlier) - known - {target.key for target in others}
    if stray:
        raise UserError(f"masks of another network: this one has no {sorted(stray)[0]} to mask")
    kept = apply_masks_(others, earlier)
    found = mask_(targets, method, choice.amount, choice.scope, choice.seed, rounds, earlier)
    return [*targets, *(t for t in others if t.key in kept)], {**found, **kept}


def run_masking(options: MaskOptions, build: Build) -> Masked:
    """Mask a network, score it, write it. Raises UserError."""
    paths = _named_paths(options)
    with alone(*(() if options.dry_run else paths)):
        return _masked(options, build)


def _masked(options: MaskOptions, build: Build) -> Masked:
    """As `run_masking`, with the outputs kept for it."""
    checkpoint, weights = _output_paths(options)
    inputs, how = options.inputs, options.scoring
    network = build(read_cfg(inputs.cfg), inputs.img_size, weights=inputs.weights)
    require_usable(network.state_dict(), inputs.weights)
    earlier = earlier_masks(inputs.weights, options.earlier)
    before = figures(network, how)
    sizes_before = file_size(network.rules, network.state_dict())
    targets, masks = mask_network_(network, options.choice, earlier, options.choice.rounds)
    after = figures(network, how)
    sizes_after = file_size(network.rules, network.state_dict())
    print(sparsity_table(targets, masks))
    print(cost_table(before, after, sizes_before, sizes_after))
    print(no_faster(before, after))
    state = {key: tensor.detach() for key, tensor in network.state_dict().items()}
    if options.dry_run:
        print("dry run: nothing was written")
    else:
        with all_or_none(checkpoint, weights) as (new_checkpoint, new_weights):
            save_checked_weights(new_weights, network.rules, state, network.seen)
            save_masked(new_checkpoint, format_cfg(network.cfg), state, masks, network.seen)
        print(f"Wrote {checkpoint}\nWrote {weights}")
        print(
            f"To finetune with the masks held: python train.py --cfg {inputs.cfg} --data ... "
            f"--weights {checkpoint} --masks {checkpoint}"
        )
    return Masked(masks, state, before, after, checkpoint, weights)


def _output_paths(options: MaskOptions) -> tuple[Path, Path]:
    """Beside the weights. Raises UserError if something stands there."""
    paths = _named_paths(options)
    if not options.dry_run:
        settle(*paths)
    for path in paths:
        if path.exists() and not (options.force or options.dry_run):
            raise UserError(f"{path}: exists already; --force overwrites it")
    return paths


def _named_paths(options: MaskOptions) -> tuple[Path, Path]:
    given, choice = Path(options.inputs.weights), options.choice
    rounds = f"_x{choice.rounds}" if choice.rounds > 1 else ""
    stem = f"mask_{choice.method}_{choice.amount}{rounds}_{given.stem}"
    return given.with_name(f"{stem}.pt"), given.with_name(f"{stem}.weights")
