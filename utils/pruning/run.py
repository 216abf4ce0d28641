"""The engine behind every pruning script: the command line and the order of the steps.

parse -> channel graph -> importance -> plan -> fold and cut -> gate -> evaluate -> table -> write.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..cfg import Cfg, load_cfg, parse_cfg, plain_text, save_cfg
from ..cli import img_size, run_main
from ..errors import UserError
from ..files import atomic_write
from ..layers import build_layers
from ..report import ModelFigures, comparison_table
from ..weights import State, load_darknet_weights, require_usable, save_darknet_weights
from .decide import decide, make_chooser
from .figures import Model, figures
from .flags import parse_args
from .gate import Proof, prove
from .plan import PrunePlan
from .strategy import Strategy
from .surgery import prune
from .tables import layer_table

Build = Callable[..., Any]


@dataclass(frozen=True)
class Pruned:
    """The result: what was found, and where it was written."""

    cfg: Cfg
    state: State
    plan: PrunePlan
    proof: Proof
    before: ModelFigures
    after: ModelFigures
    cfg_path: Path
    weights_path: Path


def run(strategy: Strategy, build: Build, doc: str | None) -> None:
    """Main of a pruning script; `build` is `models.Darknet`."""
    run_main(lambda argv: run_pruning(strategy, build, doc, argv))


def run_pruning(
    strategy: Strategy, build: Build, doc: str | None, argv: Sequence[str] | None = None
) -> Pruned:
    """Prune, prove, score, write. Raises UserError, and GateError if the proof fails."""
    args = parse_args(strategy, doc, argv)
    outputs = _output_paths(strategy, args)
    size = img_size(args.img_size)
    model: Model = build(load_cfg(args.cfg), img_size=size)
    model.load_weights(args.weights)
    state = {key: tensor.detach().cpu() for key, tensor in model.state_dict().items()}
    require_usable(state, args.weights)
    plan = decide(make_chooser(strategy, model, state, args), args)
    cut_cfg, cut_state = prune(model.cfg, state, plan)
    cfg = parse_cfg(plain_text(cut_cfg), str(outputs[0]))
    proof = prove(state, plan, cfg, cut_state)
    print(layer_table(plan))
    print(_proof_line(proof))
    compact: Model = build(cfg, img_size=size)
    compact.load_state(cut_state)
    before, after = figures(model, args), figures(compact, args)
    print(comparison_table(before, after))
    if args.dry_run:
        print("dry run: nothing was written")
    else:
        _write(cfg, cut_state, model.seen, outputs)
    return Pruned(cfg, cut_state, plan, proof, before, after, *outputs)


def _proof_line(proof: Proof) -> str:
    return (
        f"Gate passed: all {proof.layers} layers equal the masked network's to "
        f"{max(proof.masked, proof.folded):.0e} of their maximum (float64); zero padding shifts "
        f"the heads by up to {proof.border:.1e} of theirs at the image border"
    )


def _output_paths(strategy: Strategy, args: argparse.Namespace) -> tuple[Path, Path]:
    """Beside the inputs, under the known names. Raises UserError if something stands there."""
    cfg, weights = Path(args.cfg), Path(args.weights)
    names = cfg.name, f"{weights.stem}.weights"
    new_cfg, new_weights = (
        path.with_name(
            strategy.file_name(name, args.budget or args.ratio, args.layer_keep, args.shortcuts)
        )
        for path, name in zip((cfg, weights), names, strict=True)
    )
    for path in (new_cfg, new_weights):
        if path.exists() and not (args.force or args.dry_run):
            raise UserError(f"{path}: exists already; --force overwrites it")
    return new_cfg, new_weights


def _write(cfg: Cfg, state: State, seen: int, outputs: tuple[Path, Path]) -> None:
    """Write both files, or none; what was written is read back and compared."""
    cfg_path, weights_path = outputs
    with atomic_write(weights_path) as new_weights, atomic_write(cfg_path) as new_cfg:
        save_cfg(cfg, new_cfg)
        layers = build_layers(load_cfg(new_cfg))
        save_darknet_weights(new_weights, layers, state, seen)
        back, _ = load_darknet_weights(new_weights, layers)
        if any(not torch.equal(back[key], state[key]) for key in back):
            raise UserError(f"{weights_path}: read back differently from what was written")
    print(f"Wrote {cfg_path}\nWrote {weights_path}")
