"""A cfg while it is being written: sections are appended, layers are named by their index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..cfg.head_note import HEAD_NOTE
from ..cfg.module_note import Held, module_line
from ..cfg.notes import INITIAL_NOTE

COCO_CLASSES = 80

Value = int | float | str | Sequence[int]
Pair = tuple[int, int]

# What the [net] sections that came with Darknet's YOLOs have in common, in their order.
_PUBLISHED_NET: dict[str, Value] = {
    "batch": 64,
    "subdivisions": 1,
    "width": 0,
    "height": 0,
    "channels": 3,
    "momentum": 0.9,
    "decay": 0.0005,
    "angle": 0,
    "saturation": 1.5,
    "exposure": 1.5,
    "hue": 0.1,
    "learning_rate": 0.001,
    "burn_in": 1000,
    "max_batches": 500200,
    "policy": "steps",
    "steps": (400000, 450000),
    "scales": "0.1,0.1",
}


@dataclass(frozen=True)
class ConvSpec:
    """A convolution to put into a draft; padding None keeps the size (but for the stride).

    initial: all its weights in a training from random ones; None: drawn.
    """

    filters: int
    size: int = 1
    stride: int = 1
    groups: int = 1
    activation: str = "swish"
    batch_normalize: bool = True
    padding: int | None = None
    initial: float | None = None


class Draft:
    """Sections in order. Each method that adds a layer returns the layer's index."""

    def __init__(self, *title: str, activation: str = "leaky") -> None:
        """`title`: lines of the comment at the top. `activation`: of every `conv` from here on."""
        self.activation = activation
        self._parts = ["\n".join(f"# {line}" for line in title)]
        self._note = ""
        self.inside = ""  # a comment within the next section
        self.held: list[str] = []  # the modules of the next convolutions, as their notes say them
        self._layers = 0
        self._backbone_layers = 0

    @property
    def last(self) -> int:
        """Index of the layer added last."""
        return self._layers - 1

    def text(self) -> str:
        """The whole cfg."""
        return "\n\n".join(self._parts) + "\n"

    def note(self, comment: str) -> None:
        """A comment above the next section."""
        self._note = f"# {comment}\n"

    def end_backbone(self) -> None:
        """References from here on to the layers before the last are absolute, all others relative.

        A backbone keeps its numbering when it is shared or cut out; a neck's layers move about.
        """
        self._backbone_layers = self.last

    def net(self, **options: Value) -> None:
        """`[net]`, the first section."""
        self._section("net", options)

    def darknet_net(self, side_px: int, **what_differs: Value) -> None:
        """`[net]` as Darknet's YOLOs were published, for square images, but for what differs.

        Options that those do not have come last.
        """
        self.net(**{**_PUBLISHED_NET, "width": side_px, "height": side_px, **what_differs})

    def conv(
        self,
        filters: int,
        size: int,
        *,
        stride: int = 1,
        activation: str | None = None,
        batch_normalize: bool = True,
    ) -> int:
        """Convolution that keeps the size (but for the stride), with BN unless told otherwise."""
        options: dict[str, Value] = {"batch_normalize": 1} if batch_normalize else {}
        options.update(filters=filters, size=size, stride=stride, pad=1)
        return self._layer("convolutional", **options, activation=activation or self.activation)

    def put(self, spec: ConvSpec) -> int:
        """The convolution of a spec."""
        if self.held:
            module, _, part = self.held.pop(0).partition(":")
            self.inside = module_line(Held(module, part))
        options: dict[str, Value] = {"batch_normalize": 1} if spec.batch_normalize else {}
        options.update(filters=spec.filters, size=spec.size, stride=spec.stride)
        if spec.groups > 1:
            options["groups"] = spec.groups
        if spec.padding is None:
            options["pad"] = 1
        else:
            options["padding"] = spec.padding
        options["activation"] = spec.activation
        if spec.initial is None:
            return self._layer("convolutional", **options)
        self._section("convolutional", options, f"# darkslim {INITIAL_NOTE} {spec.initial:g}")
        self._layers += 1
        return self.last

    def read(self, source: int) -> int:
        """Make `source` the layer that the next section follows; returns what then is the last."""
        return source if source == self.last else self.route(source)

    def maxpool(self, size: int, stride: int, padding: int | None = None) -> int:
        """Max pooling; `padding` counts both sides, None is Darknet's own, size - 1."""
        options: dict[str, Value] = {"size": size, "stride": stride}
        if padding is not None:
            options["padding"] = padding
        return self._layer("maxpool", **options)

    def spread(self, stride: int) -> int:
        """`[reorg] reverse=1`: stride * stride channels become one of a larger map."""
        return self._layer("reorg", stride=stride, reverse=1)

    def upsample(self) -> int:
        """Nearest neighbour, twice the size."""
        return self._layer("upsample", stride=2)

    def shortcut(self, source: int, activation: str = "linear") -> int:
        """Sum of the last layer and `source`."""
        options: dict[str, Value] = {"from": self._reference(source)}
        return self._layer("shortcut", **options, activation=activation)

    def route(self, *sources: int) -> int:
        """Concatenation of the layers `sources`, along the channels."""
        return self._layer("route", layers=self._references(sources))

    def head(self, note: object, *branches: int) -> int:
        """A `[route]` of the branches whose note makes it a head (utils/layers/dfl.py)."""
        options: dict[str, Value] = {"layers": self._references(branches)}
        self._section("route", options, f"# darkslim {HEAD_NOTE} {json.dumps(note)}")
        self._layers += 1
        return self.last

    def attention(
        self, queries: int, keys: int, values: int, heads: int, scale: float, area: int = 1
    ) -> int:
        """Attention over cells: neither Darknet nor OpenCV's importer knows it."""
        sources = self._references((queries, keys, values))
        options: dict[str, Value] = {"from": sources, "heads": heads}
        if area > 1:
            options["area"] = area
        return self._layer("attention", **options, scale=f"{scale:.17f}".rstrip("0"))

    def half(self, source: int, which: int) -> int:
        """The lower (0) or upper (1) half of the channels of `source`."""
        return self._layer("route", layers=self._references([source]), groups=2, group_id=which)

    def yolo(
        self,
        mask: Sequence[int],
        anchors_px: Sequence[Pair],
        options: Mapping[str, Value],
        *,
        classes: int = COCO_CLASSES,
        activation: str = "linear",
    ) -> int:
        """A head: the 1x1 convolution that predicts, and `[yolo]`. `options` are the latter's."""
        filters = (5 + classes) * len(mask)
        self.conv(filters, 1, activation=activation, batch_normalize=False)
        return self.yolo_section(mask, anchors_px, options, classes=classes)

    def yolo_section(
        self,
        mask: Sequence[int],
        anchors_px: Sequence[tuple[float, float]],
        options: Mapping[str, Value],
        *,
        classes: int,
    ) -> int:
        """`[yolo]` alone, behind the convolution that predicts."""
        sides = (f"{_format(width)},{_format(height)}" for width, height in anchors_px)
        return self._layer(
            "yolo",
            mask=list(mask),
            anchors=", ".join(sides),
            classes=classes,
            num=len(anchors_px),
            **options,
        )

    def _reference(self, source: int) -> int:
        if not 0 <= source < self._layers:
            raise ValueError(f"layer {self._layers} cannot read layer {source}")
        return source if source < self._backbone_layers else source - self._layers

    def _references(self, sources: Sequence[int]) -> list[int]:
        return [self._reference(source) for source in sources]

    def _layer(self, kind: str, **options: Value) -> int:
        self._section(kind, options)
        self._layers += 1
        return self.last

    def _section(self, kind: str, options: dict[str, Value], *comments: str) -> None:
        comments = (self.inside, *comments) if self.inside else comments
        lines = [*comments, *(f"{key}={_format(value)}" for key, value in options.items())]
        self._parts.append(self._note + "\n".join([f"[{kind}]", *lines]))
        self._note = self.inside = ""


def _format(value: Value) -> str:
    """Text of an option; one of Darknet's readers takes no scientific notation."""
    if isinstance(value, int | str):
        return str(value)
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".")
    return ",".join(map(str, value))
