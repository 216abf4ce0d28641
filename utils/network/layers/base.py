"""What a layer is: one section of a cfg and its rule in every domain.

A domain says what the *value* of a layer is: a shape, a tensor, the channels' identities, or the
constant that each pruned channel still adds (see `docs/design.md`). A subclass states its rule for
each of them, once; nothing outside tests a layer's kind.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, TypeAlias

from ...cfg import CfgError, Section, reads_previous, set_option
from ...command.later import torch
from .activations import ACROSS_CHANNELS, ELEMENTWISE, Activation
from .ties import Ids, Mask, Ties

# torch's types for annotations alone: to name them does not load it.
Tensor: TypeAlias = "torch.Tensor"
Module: TypeAlias = "torch.nn.Module"

Shape = tuple[int, int, int]  # channels, height, width
Params: TypeAlias = "Mapping[str, Tensor]"  # a layer's tensors, by their names in its module

PaddingMode = Literal["zeros", "circular", "none"]  # the latter two for proofs only

_CACHED_NUMBERS = 1 << 17  # 1 MiB of float64

INPUT = -1  # the index that stands for the network's input


class SizeError(CfgError):
    """Inputs of a layer that differ in size, most often since the input's size fits no stride."""


class UnfoldableError(Exception):
    """A constant reaches a layer through which it cannot be carried exactly."""


@dataclass(frozen=True)
class Field:
    """One array of a layer in a `.weights` file."""

    name: str  # its key in the layer's module, as `conv.weight`
    shape: tuple[int, ...]
    transposed: bool = False  # stored as the transpose of (shape[0], the rest)
    transposed_in_old_files: bool = False  # likewise, in files of versions above 1000

    @property
    def size(self) -> int:
        """Number of floats."""
        return math.prod(self.shape)


class Window(NamedTuple):
    """Which cells of its input an output cell depends on, along one axis.

    Cell i reads from start - before to start + after, where start = floor(i / copies) * stride
    + (i mod copies) * phase.
    """

    stride: int = 1
    before: float = 0
    after: float = 0
    copies: int = 1
    phase: int = 0


WHOLE = Window(before=math.inf, after=math.inf)  # every cell depends on the whole map


class Layer:
    """One section at its place in the network; `shape` is what it puts out."""

    kind: ClassVar[str]
    gives_output: bool = True  # whether it can be the network's last value
    followed_only: bool = False  # whether Darknet gives a wrong size to those that name it
    joins_branch: bool = False  # whether it adds a branch to what the branch started from
    normalized: bool = False  # whether `bn.weight` scales each of its output channels
    activation: str = "linear"  # the name of what its sum or product goes through at the end
    groups: int = 1  # equal parts of its channels that it treats apart
    has_kernel: bool = False  # whether a kernel makes its channels, and a bias
    hands_on: bool = False  # whether its numbers are all numbers of its one source
    only_by_onnx: str = ""  # why neither Darknet nor OpenCV's importer runs it, where that is so
    one_image_in_opencv: bool = False  # OpenCV's importer runs it right in batches of 1 only
    sums_by_batch: bool = False  # whether an image's numbers may depend on the batch it is in
    not_in_opencv: str = ""  # why OpenCV's importer computes something else than Darknet

    def __init__(
        self, section: Section, index: int, sources: tuple[int, ...], inputs: tuple[Shape, ...]
    ) -> None:
        self.section = section
        self.index = index
        self.sources = sources
        self.inputs = inputs
        self.shape: Shape = self.infer_shape()
        if min(self.shape) < 1:
            raise self.error(f"its output would be {self.shape} (channels, height, width)")

    # -- structure ---------------------------------------------------------------------------

    @classmethod
    def read_sources(cls, section: Section, index: int) -> tuple[int, ...]:
        """Indices of the layers whose values it reads, in order; `INPUT` is the network's input."""
        return (index - 1,) if reads_previous(section) else ()

    def infer_shape(self) -> Shape:
        """Output shape; checks the section's options. Raises CfgError."""
        return self.inputs[0]

    @property
    def role(self) -> str:
        """What to call it: its kind, or a word for what it does."""
        return self.kind

    @property
    def owner(self) -> int:
        """The layer that holds this one's parameters: itself, unless it shares another's."""
        return self.index

    @property
    def identity_source(self) -> int | None:
        """The layer that can stand for this one, but for its activation, when its other input is a
        constant; or none.
        """
        return None

    @property
    def paired(self) -> tuple[int, int] | None:
        """Two sources whose channels are multiplied one by one, so that a pair costs what its
        product is worth: constant parts of the second's are worth nothing.
        """
        return None

    @property
    def concatenates(self) -> tuple[int, ...]:
        """The layers whose whole values it puts one after the other, if that is what it does."""
        return ()

    def naming(self, section: Section, positions: Sequence[int]) -> Section:
        """`section`, a version of its own, with the sources at `positions` and no others."""
        raise NotImplementedError(f"[{self.kind}] does not name its sources in a list")

    @property
    def sums_inputs(self) -> bool:
        """Whether two equal parts of its input can become one by `merge_inputs`."""
        return False

    def merge_inputs(self, params: Params, parts: Sequence[tuple[slice, slice]]) -> Params:
        """Its parameters where inputs repeat: for each (first, repeated), weights are summed."""
        raise NotImplementedError(f"[{self.kind}] does not sum its inputs")

    def largest_tensor(self) -> int:
        """Numbers of the largest value that it makes for one image, padding included."""
        return math.prod(self.shape)

    def fields(self) -> tuple[Field, ...]:
        """Its arrays in the order of the `.weights` file."""
        return ()

    def loaded_fields(self) -> tuple[Field, ...]:
        """Those of `fields` that a file to be read holds (see `dontload`)."""
        if self.section.flag("dontload"):
            return ()
        return self.fields()

    def check_owner(self, owner: Layer) -> None:
        """Raise CfgError when `owner` cannot lend this layer its parameters."""

    def macs(self) -> int:
        """Multiply-accumulate operations of one forward pass of one image."""
        return 0

    def window(self, axis: int, source: int) -> Window:
        """What a cell reads of the map of `sources[source]`; axis 0: rows, 1: columns."""
        return Window()

    def traits(self) -> str:
        """The options that tell it from others of its kind, in a few characters (`3x3/2 mish`)."""
        return ""

    # -- tensors -----------------------------------------------------------------------------

    def module(self, padding_mode: PaddingMode = "zeros") -> Module:
        """A fresh module with its parameters; 'circular' padding is for proofs only."""
        return torch.nn.Identity()

    def forward(self, module: Module, inputs: Sequence[Tensor]) -> Tensor:
        """Its value (B, C, H, W) as Darknet computes it."""
        return inputs[0]

    @property
    def module_options(self) -> tuple[Hashable, ...] | None:
        """All that its module depends on beside the tensors in it; None where that was not said.

        Layers of one class with equal ones may lend each other a module, tensors replaced.
        """
        return None

    def before_activation(self) -> Layer:
        """The same layer without the function that each of its values goes through at the end."""
        if self.activation == "linear":
            return self
        twin = copy.copy(self)
        twin.activation = "linear"
        return twin

    # -- channel identities ------------------------------------------------------------------

    def channels(self, inputs: Sequence[Ids], ties: Ties) -> Ids:
        """One id per output channel; channels with one id stay or go together."""
        return inputs[0]

    # -- constants ---------------------------------------------------------------------------

    def constants(self, params: Params, inputs: Sequence[Tensor], kept: Tensor) -> Tensor:
        """What to add to each output channel (C,) after pruning, given that of the inputs.

        A pruned channel's value is 0 after pruning, so its constant is all that it emitted.
        Raises UnfoldableError where a kept channel's constant meets something non-linear.
        """
        return inputs[0]

    def carried(self, inputs: Sequence[Mask], kept: Mask) -> Mask:
        """Which output channels `constants` may put a number on; `inputs` say where some arrive.

        True for any parameters, and without them. Raises UnfoldableError where `constants` may.
        """
        return inputs[0]

    def require_carried(self, carried: Sequence[Mask], keeps: Sequence[Mask]) -> None:
        """Raise UnfoldableError where a constant arrives that this layer cannot carry, by source.

        For those that do not hand all their inputs' channels on: the others see it in `kept`.
        """

    def silence(self, params: Params, kept: Tensor) -> Params:
        """Its parameters with the pruned output channels made deaf to the input: gamma 0.

        They go on emitting what their beta (or bias) says: this is the masked network.
        """
        return params

    def silent(self, params: Params, removed: Tensor) -> Tensor | None:
        """What deaf output channels (`removed`) emit at every place, whatever the input.

        For parameters that `silence` made deaf. None where that is not so, or where a channel's
        value depends on others': then it has to be run.
        """
        return None

    def masked(self, value: Tensor, kept: Tensor) -> Tensor:
        """Its value (B, C, H, W) in the masked network, where removed channels are constants."""
        return value

    def absorb(self, params: Params, inputs: Sequence[Tensor]) -> Params:
        """Its parameters with the inputs' constants moved into a mean or bias."""
        return params

    # -- surgery -----------------------------------------------------------------------------

    def slice(self, params: Params, keeps: Sequence[Tensor], kept: Tensor) -> Params:
        """Its parameters for the kept input channels (one mask per source) and outputs."""
        return params

    def rewrite(self, keeps: Sequence[Tensor], kept: Tensor) -> Section:
        """Its section for the kept channels."""
        return self.section

    # -- helpers for subclasses --------------------------------------------------------------

    def with_count(self, key: str, kept: Tensor) -> Section:
        """The section with `key` set to the number of kept channels, if any goes."""
        count = int(kept.sum())
        return self.section if count == len(kept) else set_option(self.section, key, count)

    def error(self, message: str, key: str = "") -> CfgError:
        """An error that names the section and says which layer it is."""
        return self.section.error(f"{message} (layer {self.index})", key)

    def activation_name(self, default: str, across_channels: bool = False) -> str:
        """The section's activation. Raises CfgError for one Darknet does not know here."""
        name = self.section.text("activation", default)
        known = {**ELEMENTWISE, **(ACROSS_CHANNELS if across_channels else {})}
        if name not in known:
            raise self.error(
                f"unknown activation '{name}'; known: {', '.join(known)}", "activation"
            )
        return name

    def require_same_size(self, inputs: Sequence[Shape]) -> None:
        """Raise SizeError unless all inputs have one height and width."""
        sizes = {shape[1:] for shape in inputs}
        if len(sizes) > 1:
            found = ", ".join(
                f"layer {s}: {shape[2]}x{shape[1]}"
                for s, shape in zip(self.sources, inputs, strict=True)
            )
            raise SizeError(str(self.error(f"its inputs differ in size ({found})")))


def weighed(weights: Tensor, numbers: Tensor) -> Tensor:
    """(O,) float64: each row of (O, K) times (K,); in parts that the processor's cache holds."""
    rows = max(1, _CACHED_NUMBERS // max(1, weights.shape[1]))
    return torch.cat([part.double() @ numbers for part in torch.split(weights, rows)])


def places_of(kept: Tensor) -> Tensor | None:
    """Where a mask is set, as indices; None where it is set everywhere."""
    places = kept.nonzero().flatten()
    return None if len(places) == len(kept) else places


def picked(tensor: Tensor, places: Tensor | None, axis: int = 0) -> Tensor:
    """What is at these places of an axis; the tensor itself where that is all of it."""
    return tensor if places is None else tensor.index_select(axis, places)


def wrapped(x: Tensor, pad: int) -> Tensor:
    """Circular padding of (B, C, H, W), by any width (that of torch stops at the map's own)."""
    if not pad:
        return x
    rows, columns = (
        torch.arange(-pad, length + pad, device=x.device) % length for length in x.shape[2:]
    )
    return x[:, :, rows][:, :, :, columns]


def require_no_constant(constants: Tensor, kept: Tensor, what: str) -> None:
    """Raise UnfoldableError when a kept channel's constant is not 0."""
    if bool((constants[kept] != 0).any()):
        raise UnfoldableError(f"a constant on a kept channel meets {what}")


def carried_by_removed(carried: Sequence[Mask], kept: Mask, what: str) -> Mask:
    """The pruned channels: `what` makes constants of theirs. None may be on the kept ones."""
    if any((mask & kept).any() for mask in carried):
        raise UnfoldableError(f"a constant on a kept channel meets {what}")
    return ~kept


def apply_to_removed(constants: Tensor, kept: Tensor, function: Activation, what: str) -> Tensor:
    """`function` of the pruned channels' constants; the kept ones' must be 0."""
    require_no_constant(constants, kept, what)
    return torch.where(kept, torch.zeros_like(constants), function(constants))
