"""The network: built from a Darknet cfg, run, loaded and saved.

    model = Darknet("cfg/yolov4.cfg", weights="yolov4.weights")
    boxes = model.eval()(images)      # images (B, 3, H, W), RGB, 0..1

`from models import *` brings Darknet and convert.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from utils.cfg import Cfg, parse_cfg, save_cfg
from utils.command.errors import UserError
from utils.command.files import all_or_none, alone
from utils.network.batch_norm.epsilon import for_epsilon
from utils.network.cfg_of import read_cfg
from utils.network.checkpoints.file import save_checkpoint
from utils.network.graph import interpret
from utils.network.int8.points import value_name
from utils.network.int8.saved import ranges_in
from utils.network.layers import INPUT, Head, Layer, PaddingMode, build_layers, input_shape
from utils.network.layers.heads import require_heads_fit
from utils.network.layers.modules import ConvolutionModule
from utils.network.layers.strides import stride_px
from utils.network.options import BnEpsilon
from utils.network.two_sets import detached_sources, one_set
from utils.network.weights import (
    best_conf_in,
    checkpoint_content,
    each_alone,
    index_of,
    is_checkpoint,
    key_of,
    load_checkpoint,
    load_darknet_weights,
    names_in,
    save_darknet_weights,
)

__all__ = ["Darknet", "convert"]

logger = logging.getLogger(__name__)


class Darknet(nn.Module):
    """A detector as its cfg says, with Darknet's numbers.

    In training mode it returns the raw head tensors, a list of (B, anchors * entries, H, W); in
    evaluation mode the decoded boxes (B, N, 5 + nc): xywh in input pixels, objectness, class
    probabilities, ordered by head, cell (row by row), anchor, of the heads that answer. A network
    without heads returns its last layer's value.

    `img_size` (height, width) overrides the cfg's. Any other size of input works too, as long as
    the layers' sizes fit. With `weights`, a file or a state, that is what it starts with, and no
    random numbers are drawn; with `lent`, its tensors are the state's own, and are not to be
    changed. Raises CfgError for a cfg that is not a network, UserError for weights that do not fit
    it.
    """

    def __init__(
        self,
        cfg: Cfg | str | Path,
        img_size: tuple[int, int] | None = None,
        padding_mode: PaddingMode = "zeros",
        weights: str | Path | Mapping[str, Tensor] | None = None,
        lent: bool = False,
    ) -> None:
        super().__init__()
        self._understand(cfg if isinstance(cfg, Cfg) else read_cfg(cfg), img_size)
        # Without values until the weights are loaded; files may leave out what `dontload` names.
        blank = weights is not None and not self._not_in_files()
        with torch.device("meta") if blank else nullcontext():
            self.layers = nn.ModuleList(rule.module(padding_mode) for rule in self.rules)
        self.seen = 0  # images trained on; kept in .weights files
        self.names: tuple[str, ...] = ()  # of the classes, where a checkpoint says them
        self.best_conf: float | None = None  # the score of the best F1, likewise
        self.grids = nn.ModuleDict()  # of values in int8 (utils/network/int8); in float none
        self.ranges: dict[str, tuple[float, float]] = {}  # for them, where a checkpoint holds some
        if isinstance(weights, Mapping):
            self.load_state(weights, copy=not lent)
        elif weights is not None:
            self.load_weights(weights)

    def _understand(self, cfg: Cfg, img_size: tuple[int, int] | None) -> None:
        """All that the cfg alone says."""
        self.cfg = cfg
        self.in_channels, *size = input_shape(cfg, img_size)
        self.img_size = (size[0], size[1])
        self.rules: tuple[Layer, ...] = build_layers(cfg, self.img_size)
        self.heads: tuple[Head, ...] = tuple(r for r in self.rules if isinstance(r, Head))
        require_heads_fit(self.heads)
        self._unused_after = _last_readers(self.rules)
        self._detached = detached_sources(self.rules)

    @property
    def nc(self) -> int:
        """Number of classes (of the last head). Raises UserError for a network without heads."""
        self._require_heads()
        return self.heads[-1].nc

    def _require_heads(self) -> None:
        if not self.heads:
            raise UserError(f"{self.cfg.source}: the network has no detection head")

    @property
    def stride(self) -> int:
        """The largest stride of its layers, in pixels; input sizes are multiples of it."""
        return stride_px(self.rules)

    def forward(
        self, x: Tensor, observe: Sequence[int] | None = None
    ) -> list[Tensor] | Tensor | tuple[list[Tensor], dict[int, Tensor]]:
        """Raw heads in training mode, boxes in evaluation mode (see the class).

        `observe`: as the method of that name, here because wrappers of modules know `forward` only.
        """
        if observe is not None:
            return self.observe(x, observe)
        raw, last = self._run(x)
        if not self.heads:
            return last
        if self.training:
            return raw
        size = (x.shape[2], x.shape[3])
        # Half-precision values are too coarse for boxes; float64 stays what it is.
        wide = [r if r.dtype == torch.float64 else r.float() for r in raw]
        pairs = [(h, r) for h, r in zip(self.heads, wide, strict=True) if h.answers]
        return torch.cat([head.decode(values, size) for head, values in pairs], 1)

    def raw_heads(self, x: Tensor) -> list[Tensor]:
        """What each head reads, in any mode."""
        return self._run(x)[0]

    def observe(self, x: Tensor, layers: Sequence[int]) -> tuple[list[Tensor], dict[int, Tensor]]:
        """Raw heads in any mode, and the values of some layers by their index."""
        values: dict[int, Tensor] = dict.fromkeys(layers, x)
        return self._run(x, values)[0], values

    def layer_outputs(self, x: Tensor) -> list[Tensor]:
        """Darknet's `l.output` of every section (heads after their in-place activation)."""

        def rule(layer: Layer, inputs: list[Tensor]) -> Tensor:
            return layer.forward(self.layers[layer.owner], inputs)

        return interpret(self.rules, rule, x)

    def _run(
        self, x: Tensor, observed: dict[int, Tensor] | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Raw heads and the last value; the values of the layers in `observed` are put there."""
        x = self._on_grid(INPUT, x)
        values: dict[int, Tensor] = {INPUT: x}
        raw: list[Tensor] = []
        output = x
        for rule in self.rules:
            inputs = [values[source] for source in rule.sources]
            if self.training and rule.index in self._detached:
                alone = self._detached[rule.index]
                pairs = zip(rule.sources, inputs, strict=True)
                inputs = [x.detach() if source in alone else x for source, x in pairs]
            if isinstance(rule, Head):
                raw.append(rule.raw(inputs))
            if isinstance(rule, Head) and rule.index in self._unused_after[rule.index]:
                value = raw[-1]  # activated for layers that read a head, of which there are few
            else:
                value = rule.forward(self.layers[rule.owner], inputs)
            value = self._on_grid(rule.index, value)
            values[rule.index] = value
            if observed and rule.index in observed:
                observed[rule.index] = value
            if rule.gives_output:
                output = value
            for source in self._unused_after[rule.index]:
                del values[source]
        return raw, output

    def _on_grid(self, index: int, value: Tensor) -> Tensor:
        """A layer's value (INPUT: the image), rounded where it has a grid."""
        name = value_name(index)
        if name not in self.grids:
            return value
        rounded: Tensor = self.grids[name](value)
        return rounded

    def fuse(self) -> Darknet:
        """Fold every batch normalisation into its convolution, in place; for inference only."""
        for module in self.layers:
            if isinstance(module, ConvolutionModule):
                module.fuse()
        return self

    def answering_(self) -> Darknet:
        """Leave out, in place, the heads that only train and their own layers; for inference."""
        cfg, places = one_set(self.cfg)
        if cfg is not self.cfg:
            came_from = {new: self.layers[old] for old, new in places.items()}
            self._understand(cfg, self.img_size)
            kept = (came_from.get(rule.index) or rule.module("zeros") for rule in self.rules)
            self.layers = nn.ModuleList(kept)
        return self

    def load_weights(self, path: str | Path, cutoff: int | None = None) -> Darknet:
        """Load a `.weights` or `.pt` file, strictly; `cutoff` loads the layers before it only.

        Raises UserError that says how many numbers are missing or left over.
        """
        if is_checkpoint(path):
            checkpoint = load_checkpoint(path)
            state: Mapping[str, Tensor] = checkpoint["model"]
            self.seen = checkpoint.get("seen", 0)
            self.names = names_in(checkpoint)
            self.best_conf = best_conf_in(checkpoint)
            self.ranges = ranges_in(checkpoint, path)
            if cutoff is not None:
                state = {k: v for k, v in state.items() if index_of(k) < cutoff}
        else:
            state, header = load_darknet_weights(path, self.rules, cutoff)
            self.seen = header.seen
        only = None if cutoff is None else range(cutoff)
        # Two copies of the weights would be the most that many commands take.
        self.load_state(state, str(path), only, copy=not each_alone(state.values()))
        return self

    @torch.no_grad()
    def load_state(
        self,
        state: Mapping[str, Tensor],
        source: str = "state",
        only: Sequence[int] | None = None,
        copy: bool = True,
    ) -> None:
        """Copy a state into the model; each tensor (of the layers `only`) must be there and fit.

        With `copy` off, a model that has no values yet takes the tensors themselves.
        """
        own = {
            key: tensor
            for key, tensor in self.state_dict().items()
            if only is None or index_of(key) in only
        }
        optional = self._not_in_files()
        missing = [k for k in own if k not in state and k not in optional]
        extra = [k for k in state if k not in own]
        wrong = [k for k in own if k in state and state[k].shape != own[k].shape]
        if missing or extra or wrong:
            first = (wrong or missing or extra)[0]
            raise UserError(
                f"{source}: does not fit {self.cfg.source}: {len(missing)} tensors missing, "
                f"{len(extra)} left over, {len(wrong)} of another shape (the first: {first})"
            )
        if any(tensor.is_meta for tensor in own.values()):
            taken = {key: state[key].to(tensor.dtype, copy=copy) for key, tensor in own.items()}
            self.load_state_dict(taken, assign=True)
            return
        for key, tensor in own.items():
            if key in state:
                tensor.copy_(state[key])

    def _not_in_files(self) -> set[str]:
        """Keys that `dontload` options keep out of the files that are read."""
        return {
            key_of(rule.index, field.name)
            for rule in self.rules
            for field in rule.fields()
            if field not in rule.loaded_fields()
        }

    def save_weights(self, path: str | Path) -> None:
        """Write a `.weights` file: header 0.2.5, 64-bit seen."""
        save_darknet_weights(path, self.rules, self.state_dict(), self.seen)


def _last_readers(rules: Sequence[Layer]) -> list[list[int]]:
    """For every layer, the earlier values that nobody reads after it."""
    last: dict[int, int] = {INPUT: 0}
    for rule in rules:
        last[rule.index] = rule.index
        last.update(dict.fromkeys(rule.sources, rule.index))
    unused: list[list[int]] = [[] for _ in rules]
    for value, reader in last.items():
        unused[reader].append(value)
    return unused


def convert(cfg: str | Path, weights: str | Path, bn_epsilon: BnEpsilon = "darknet") -> Path:
    """Convert `.pt` to `converted.weights`, or `.weights` to `converted.pt`, beside the input.

    `bn_epsilon` says which runtimes a `.weights` file is for: "darknet" (and training), "opencv",
    or "any" (see docs/runtimes.md). A checkpoint of another network than `cfg` (the last
    training was of a pruned one, say) is converted as what it is, and `converted.cfg` is written,
    too. Raises UserError where nothing says what the weights belong to.
    """
    target = Path(weights).with_name("converted.pt")
    if is_checkpoint(weights):
        target = target.with_suffix(".weights")
    with alone(target):
        return _converted(cfg, weights, target, bn_epsilon)


def _converted(cfg: str | Path, weights: str | Path, target: Path, bn_epsilon: BnEpsilon) -> Path:
    model = _model_of(cfg, weights)
    if target.suffix == ".weights":
        if model.ranges:
            logger.warning("%s: its int8 ranges have no place in a .weights file", weights)
        model.load_state(dict(for_epsilon(model.state_dict(), model.rules, bn_epsilon)))
        if model.cfg.source == str(cfg):
            model.save_weights(target)
        else:
            with all_or_none(target.with_suffix(".cfg"), target) as (new_cfg, new_weights):
                save_cfg(model.cfg, new_cfg)
                model.save_weights(new_weights)
        print(f"written: {target} ({target.stat().st_size:,} bytes)", file=sys.stderr)
        return target
    text = Path(cfg).read_text(encoding="utf-8", errors="surrogateescape")
    content = checkpoint_content(text, model.state_dict(), model.seen)
    save_checkpoint(target, content)
    print(f"written: {target} ({target.stat().st_size:,} bytes)", file=sys.stderr)
    return target


def _model_of(cfg: str | Path, weights: str | Path) -> Darknet:
    """The network with its weights; of a checkpoint that does not fit the cfg, by its own cfg."""
    model = Darknet(cfg)
    try:
        return model.load_weights(weights)
    except UserError:
        text = load_checkpoint(weights).get("cfg", "") if is_checkpoint(weights) else ""
        if not text:
            raise
        own = Darknet(parse_cfg(text, f"the cfg in {weights}")).load_weights(weights)
        logger.warning(
            "%s: is of another network than %s: converted as what it is, with its own cfg",
            weights,
            cfg,
        )
        return own
