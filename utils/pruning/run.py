"""The engine behind every pruning script: the command line and the order of the steps.

parse -> channel graph -> importance -> plan -> fold and cut -> gate -> evaluate -> table -> write.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from terminaltables import AsciiTable
from torch import Tensor, nn

from ..cfg import Cfg, load_cfg, parse_cfg, plain_text, save_cfg
from ..cfg_flags import add_fit, add_nms, chosen_fit, chosen_nms
from ..cli import (
    Parser,
    add_img_size,
    img_size,
    pick_device,
    positive_int,
    ratio,
    run_main,
)
from ..data import DetectionDataset, load_data_file, make_loader
from ..errors import UserError
from ..evaluate import Metrics, evaluate
from ..files import atomic_write
from ..graph import channel_graph
from ..layers import Head, Layer, build_layers
from ..profile import time_forward_ms
from ..report import ModelFigures, comparison_table, count_parameters, file_bytes
from ..weights import State, load_darknet_weights, require_usable, save_darknet_weights
from .blocks import find_blocks
from .gate import Proof, prove
from .importance import Scores, batch_norm_scale
from .plan import (
    PrunePlan,
    block_score,
    drop_blocks,
    highest_safe_ratio,
    keep_everything,
    make_plan,
)
from .strategy import Strategy
from .surgery import prune


class Model(Protocol):
    """What the engine needs of `models.Darknet`."""

    rules: tuple[Layer, ...]
    heads: tuple[Head, ...]
    cfg: Cfg
    nc: int
    seen: int
    img_size: tuple[int, int]
    in_channels: int

    def load_weights(self, path: str | Path) -> Any: ...

    def load_state(self, state: State) -> None: ...

    def fuse(self) -> nn.Module: ...

    def state_dict(self) -> State: ...


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


def parse_args(strategy: Strategy, doc: str | None, argv: Sequence[str] | None) -> Any:
    """The flags of a pruning script."""
    parser = Parser(doc)
    add = parser.add_argument
    add("--cfg", default="cfg/yolov3.cfg", help="structure of the model")
    add("--data", help=".data file to score before and after; left out, nothing is scored")
    add("--weights", default="weights/last.pt", help=".weights or .pt, best after sparse training")
    _add_strategy_flags(parser, strategy)
    add_img_size(parser)
    add_fit(parser)
    add_nms(parser)
    add("--batch-size", type=positive_int, default=16, help="images per batch when scoring")
    add("--device", default="", help="cpu, cuda or a GPU's number; '' takes a GPU if there is one")
    add("--workers", type=int, default=2, help="processes that load images; 0: none")
    add("--force", action="store_true", help="overwrite output files of an earlier run")
    add("--dry-run", action="store_true", help="everything up to the table; write nothing")
    return parser.parse_args(argv, argparse.Namespace(ratio=0.0, layer_keep=0.0, shortcuts=0))


def _add_strategy_flags(parser: Parser, strategy: Strategy) -> None:
    add = parser.add_argument
    if strategy.blocks:
        add(
            "--shortcuts",
            type=positive_int,
            default=8,
            metavar="N",
            help="residual blocks to remove: a shortcut and the branch that it adds",
        )
    if strategy.channels is not None:
        add(
            strategy.ratio_flag,
            dest="ratio",
            type=ratio,
            default=strategy.ratio,
            metavar="RATIO",
            help="share of the channels to remove, over all layers",
        )
    if strategy.has_floor:
        add(
            "--layer_keep",
            type=ratio,
            default=0.01,
            help="share of its channels that each convolution keeps at least",
        )


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
    plan = _plan(strategy, model, state, args)
    cut_cfg, cut_state = prune(model.cfg, state, plan)
    cfg = parse_cfg(plain_text(cut_cfg), str(outputs[0]))
    proof = prove(state, plan, cfg, cut_state)
    print(layer_table(plan))
    print(_proof_line(proof))
    compact: Model = build(cfg, img_size=size)
    compact.load_state(cut_state)
    before, after = _figures(model, args), _figures(compact, args)
    print(comparison_table(before, after))
    if args.dry_run:
        print("dry run: nothing was written")
    else:
        _write(cfg, cut_state, model.seen, outputs)
    return Pruned(cfg, cut_state, plan, proof, before, after, *outputs)


def _plan(strategy: Strategy, model: Model, state: State, args: argparse.Namespace) -> PrunePlan:
    graph = channel_graph(model.rules)
    scores = batch_norm_scale(graph, state)
    plan = keep_everything(graph)
    if strategy.channels is not None:
        plan = make_plan(graph, scores, strategy.channels, args.ratio, args.layer_keep)
        safe = highest_safe_ratio(scores, plan.candidates)
        print(f"Threshold on |gamma|: {plan.threshold:.6f}")
        print(f"Highest ratio at which no layer would lose all its channels: {safe:.4f}")
        if args.ratio > safe:
            print("  above it, such layers keep their best channels")
    if not strategy.blocks:
        return plan
    plan = drop_blocks(plan, scores, args.shortcuts)
    print(_block_table(plan, scores))
    return plan


def _block_table(plan: PrunePlan, scores: Scores) -> str:
    """One row per shortcut, the least first: its score, and what happens to it."""
    blocks, reasons = find_blocks(plan.graph)
    ranked = sorted(blocks, key=lambda block: block_score(plan, scores, block))
    rows = [["shortcut", "mean |gamma|", "layers", ""]]
    for block in ranked:
        span = f"{block.layers[0]}..{block.shortcut}"
        fate = "removed" if block in plan.dropped else ""
        rows.append([str(block.shortcut), f"{block_score(plan, scores, block):.6f}", span, fate])
    rows += [[str(index), "", "", f"stays: {why}"] for index, why in reasons.items()]
    return str(AsciiTable(rows).table)


def layer_table(plan: PrunePlan) -> str:
    """One row per convolution: channels before and after, and why some had to stay."""
    rows = [["layer", "channels", "kept", "cannot go because"]]
    total = kept_total = 0
    for index, classes in sorted(plan.graph.issued.items()):
        kept = 0 if index in plan.stand_in else int(plan.keep[classes].sum())
        total, kept_total = total + len(classes), kept_total + kept
        reason = plan.candidates.reasons.get(index, "") if kept else "removed with its block"
        rows.append([str(index), str(len(classes)), str(kept), reason])
    rows.append(["all", str(total), str(kept_total), ""])
    table = AsciiTable(rows)
    table.justify_columns = dict.fromkeys((0, 1, 2), "right")
    share = (total - kept_total) / total
    return f"{table.table}\n{total - kept_total} of {total} channels go ({share:.1%})"


def _proof_line(proof: Proof) -> str:
    return (
        f"Gate passed: all {proof.layers} layers equal the masked network's to "
        f"{max(proof.masked, proof.folded):.0e} of their maximum (float64); zero padding shifts "
        f"the heads by up to {proof.border:.1e} of theirs at the image border"
    )


def _figures(model: Model, args: argparse.Namespace) -> ModelFigures:
    device = pick_device(args.device)
    fused = copy.deepcopy(model).fuse().eval().to(device)
    image = torch.rand(1, model.in_channels, *model.img_size, device=device)
    latency = time_forward_ms(lambda: fused(image), runs=20, warmup=3)
    metrics = _score(fused, model, args) if args.data else None
    return ModelFigures(
        parameters=count_parameters(model.rules),
        macs=sum(layer.macs() for layer in model.rules),
        file_bytes=file_bytes(model.rules),
        latency=latency,
        map50=metrics.map50 if metrics else None,
        map=metrics.map if metrics else None,
    )


def _score(network: nn.Module, model: Model, args: argparse.Namespace) -> Metrics:
    spec = load_data_file(args.data)
    if spec.nc != model.nc:
        raise UserError(
            f"{args.data}: has {spec.nc} classes, but {model.cfg.source} is made for {model.nc}"
        )
    fit = chosen_fit(args.fit, model.cfg)
    dataset = DetectionDataset(spec.require("valid"), spec.nc, model.img_size, fit=fit)
    loader = make_loader(dataset, args.batch_size, args.workers)

    def predict(images: Tensor) -> Tensor:
        boxes: Tensor = network(images)
        return boxes

    kind = chosen_nms(args.nms, model.heads[-1].section)
    device = pick_device(args.device)
    return evaluate(predict, loader, spec.nc, spec.names, nms_kind=kind, device=device)


def _output_paths(strategy: Strategy, args: argparse.Namespace) -> tuple[Path, Path]:
    """Beside the inputs, under the known names. Raises UserError if something stands there."""
    cfg, weights = Path(args.cfg), Path(args.weights)
    names = cfg.name, f"{weights.stem}.weights"
    new_cfg, new_weights = (
        path.with_name(strategy.file_name(name, args.ratio, args.layer_keep, args.shortcuts))
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
