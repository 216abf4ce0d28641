"""mask_prune.py: load, mask, score, write."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..cfg import format_cfg, load_cfg
from ..command.cli import img_size
from ..command.errors import UserError
from ..command.files import atomic_write
from ..detection.figures import ModelFigures, figures
from ..network.weights import State, require_usable, save_checked_weights
from .figures import cost_table, file_size, no_faster, sparsity_table
from .files import earlier_masks, save_masked
from .methods import Masks, Method, apply_masks_, make_method, mask_
from .targets import Target, find_targets

Build = Callable[..., Any]


@dataclass(frozen=True)
class Masked:
    """The result: masks by the state's keys, the masked state, and where they were written."""

    masks: Masks
    state: State
    before: ModelFigures
    after: ModelFigures
    checkpoint: Path
    weights: Path


def method_of(args: argparse.Namespace) -> Method:
    """The method that the flags name. Raises UserError."""
    return make_method(args.method, args.n, args.dim, args.custom_method)


def targets_of(network: Any, args: argparse.Namespace, method: Method) -> list[Target]:
    """The parameters that the flags name. Raises UserError."""
    whole_outputs = method.structured and args.dim == 0
    return find_targets(network, args.layers, args.parameters, whole_outputs)


def mask_network_(
    network: Any, args: argparse.Namespace, earlier: Mapping[str, Tensor], rounds: int
) -> tuple[list[Target], Masks]:
    """Mask a network in place as the flags say, on top of `earlier` masks; they all count.

    Raises UserError.
    """
    method = method_of(args)
    targets = targets_of(network, args, method)
    known = {target.key for target in targets}
    others = [t for t in find_targets(network, (), ("weight", "bias")) if t.key not in known]
    stray = set(earlier) - known - {target.key for target in others}
    if stray:
        raise UserError(f"masks of another network: this one has no {sorted(stray)[0]} to mask")
    kept = apply_masks_(others, earlier)
    found = mask_(targets, method, args.amount, args.scope, args.seed, rounds, earlier)
    return [*targets, *(t for t in others if t.key in kept)], {**found, **kept}


def run_masking(build: Build, args: argparse.Namespace) -> Masked:
    """Mask a model, score it, write it. Raises UserError."""
    checkpoint, weights = _output_paths(args)
    size = img_size(args.img_size)
    model = build(load_cfg(args.cfg), img_size=size, weights=args.weights)
    require_usable(model.state_dict(), args.weights)
    earlier = earlier_masks(args.weights, args.masks)
    before = figures(model, args)
    sizes_before = file_size(model.rules, model.state_dict())
    targets, masks = mask_network_(model, args, earlier, args.rounds)
    after = figures(model, args)
    sizes_after = file_size(model.rules, model.state_dict())
    print(sparsity_table(targets, masks))
    print(cost_table(before, after, sizes_before, sizes_after))
    print(no_faster(before, after))
    state = {key: tensor.detach() for key, tensor in model.state_dict().items()}
    if args.dry_run:
        print("dry run: nothing was written")
    else:
        with atomic_write(weights) as new_weights, atomic_write(checkpoint) as new_checkpoint:
            save_checked_weights(new_weights, model.rules, state, model.seen)
            save_masked(new_checkpoint, format_cfg(model.cfg), state, masks, model.seen)
        print(f"Wrote {checkpoint}\nWrote {weights}")
        print(
            f"To finetune with the masks held: python train.py --cfg {args.cfg} --data ... "
            f"--weights {checkpoint} --masks {checkpoint}"
        )
    return Masked(masks, state, before, after, checkpoint, weights)


def _output_paths(args: argparse.Namespace) -> tuple[Path, Path]:
    """Beside the weights. Raises UserError if something stands there."""
    given = Path(args.weights)
    rounds = f"_x{args.rounds}" if args.rounds > 1 else ""
    stem = f"mask_{args.method}_{args.amount}{rounds}_{given.stem}"
    paths = given.with_name(f"{stem}.pt"), given.with_name(f"{stem}.weights")
    for path in paths:
        if path.exists() and not (args.force or args.dry_run):
            raise UserError(f"{path}: exists already; --force overwrites it")
    return paths
