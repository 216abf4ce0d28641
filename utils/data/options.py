"""How images are fed and changed, as plain values: nothing here needs an image."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ..command.errors import UserError

Fit = Literal["letterbox", "stretch"]

FLIP = 0.5  # where neither a user nor a cfg speaks of it


@dataclass(frozen=True)
class Feeding:
    """The details of how an image becomes input, in which programs differ.

    grey: level of the border of a letterbox. reduced: a JPEG is decoded at the smallest of its
    sizes that will do. area: more than halved, each pixel is a mean. rounded_up: sizes are.
    """

    grey: int = 128  # .5, as Darknet's letterbox_image
    reduced: bool = True
    area: bool = True
    rounded_up: bool = False


OUR_FEEDING = Feeding()
ULTRALYTICS_FEEDING = Feeding(114, reduced=False, area=False, rounded_up=True)


def fitted_size(
    image_hw: tuple[int, int], net_hw: tuple[int, int], fit: Fit, feeding: Feeding = OUR_FEEDING
) -> tuple[int, int]:
    """Size (height, width) in pixels that an image takes within the network's input."""
    if fit == "stretch":
        return net_hw
    ratio = min(net_hw[0] / image_hw[0], net_hw[1] / image_hw[1])
    whole = math.ceil if feeding.rounded_up else round
    height, width = (max(whole(side * ratio), 1) for side in image_hw)
    return min(height, net_hw[0]), min(width, net_hw[1])


def _knob(default: float | None, low: float, high: float, text: str) -> Any:
    return field(default=default, metadata={"range": (low, high), "help": text})


@dataclass(frozen=True)
class AugmentOptions:
    """How strongly training images are changed; 0 turns a change off.

    A box is dropped after mosaic or affine when less than `min_visible` of its area is still in the
    picture or one of its sides is shorter than `min_side_px`.
    """

    mosaic: float = _knob(1.0, 0, 1, "probability of a mosaic of 4 images")
    hsv_h: float = _knob(0.015, 0, 0.5, "largest turn of the hue, as a share of the colour circle")
    hsv_s: float = _knob(0.7, 0, 1, "saturation is multiplied by up to 1 +- this")
    hsv_v: float = _knob(0.4, 0, 1, "brightness is multiplied by up to 1 +- this")
    flip: float | None = _knob(
        None,
        0,
        1,
        f"probability of a left-right flip; left out: {FLIP}, but 0 where [net] says flip=0, as of "
        "signs, where left is not right",
    )
    degrees: float = _knob(0.0, 0, 180, "largest rotation, in degrees")
    translate: float = _knob(0.1, 0, 1, "largest shift, as a share of the input's size")
    scale: float = _knob(0.5, 0, 0.95, "the size is multiplied by up to 1 +- this")
    # Below 45 degrees, so that the two shears together never flatten the picture.
    shear: float = _knob(0.0, 0, 40, "largest shear, in degrees")
    min_visible: float = _knob(
        0.1, 0, 1, "boxes with less than this share left in the picture are dropped"
    )
    min_side_px: float = _knob(
        2.0, 0, 1e4, "boxes with a shorter side, in network pixels, are dropped"
    )

    def __post_init__(self) -> None:
        for knob in fields(self):
            low, high = knob.metadata["range"]
            value = getattr(self, knob.name)
            if value is not None and not low <= value <= high:
                raise UserError(f"--{knob.name} {value:g}: must lie between {low:g} and {high:g}")

    @property
    def flip_share(self) -> float:
        """The probability of a flip, as given or by default."""
        return FLIP if self.flip is None else self.flip

    @property
    def has_affine(self) -> bool:
        """Whether anything but a flip moves pixels."""
        return any((self.degrees, self.translate, self.scale, self.shear))

    @staticmethod
    def add_flags(parser: argparse.ArgumentParser) -> None:
        """One flag per knob, named like it."""
        group = parser.add_argument_group("augmentation")
        for knob in fields(AugmentOptions):
            group.add_argument(
                f"--{knob.name.replace('_', '-')}",
                type=float,
                default=knob.default,
                metavar="X",
                help=knob.metadata["help"],
            )
