"""How an image becomes the network's input: fitted, as numbers; and the exact way back.

Coordinates are continuous: pixel i covers [i, i + 1), so an image w pixels wide spans 0..w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch

from .images import Size
from .options import OUR_FEEDING, Fit, fitted_size
from .pixels import ByteArray

Boxes = TypeVar("Boxes", npt.NDArray[Any], torch.Tensor)

GREY = OUR_FEEDING.grey


@dataclass(frozen=True)
class Geometry:
    """net = image * scale + offset, per axis, in pixels; pairs are (y, x) as in (height, width)."""

    image_hw: Size
    net_hw: Size
    scale_yx: tuple[float, float]
    offset_yx: tuple[float, float] = (0.0, 0.0)

    @property
    def aspect(self) -> float:
        """Width / height of the image as it lies in the network input."""
        (h, w), (sy, sx) = self.image_hw, self.scale_yx
        return (w * sx) / (h * sy)

    def to_image(self, boxes_xyxy_px: Boxes) -> Boxes:
        """Boxes (..., 4) in network input pixels -> pixels of the original image, clipped to it."""
        return _clip(self.beyond_image(boxes_xyxy_px), self.image_hw)

    def beyond_image(self, boxes_xyxy_px: Boxes) -> Boxes:
        """As `to_image`, not clipped."""
        (sy, sx), (oy, ox) = self.scale_yx, self.offset_yx
        return _map(boxes_xyxy_px, (1 / sx, 1 / sy), (-ox / sx, -oy / sy))

    def labels_to_net(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(n, 5) class, xc, yc, w, h normalised to the image -> the same normalised to the net."""
        (h, w), (net_h, net_w) = self.image_hw, self.net_hw
        sx, sy = self.scale_yx[1] * w / net_w, self.scale_yx[0] * h / net_h
        out = rows * np.array([1, sx, sy, sx, sy], np.float64)
        out[:, 1] += self.offset_yx[1] / net_w
        out[:, 2] += self.offset_yx[0] / net_h
        return out.astype(np.float32)

    def resized(self, net_hw: Size) -> Geometry:
        """The geometry after the whole network input was stretched to `net_hw`."""
        ky, kx = net_hw[0] / self.net_hw[0], net_hw[1] / self.net_hw[1]
        return replace(
            self,
            net_hw=net_hw,
            scale_yx=(self.scale_yx[0] * ky, self.scale_yx[1] * kx),
            offset_yx=(self.offset_yx[0] * ky, self.offset_yx[1] * kx),
        )

    def placed(self, net_hw: Size) -> Geometry:
        """The geometry after this net input became the centred part of a larger one."""
        top, left = (net_hw[0] - self.net_hw[0]) // 2, (net_hw[1] - self.net_hw[1]) // 2
        oy, ox = self.offset_yx
        return replace(self, net_hw=net_hw, offset_yx=(oy + top, ox + left))


def identity(net_hw: Size) -> Geometry:
    """The geometry of an image that is the network input."""
    return Geometry(net_hw, net_hw, (1.0, 1.0))


def resize(image: ByteArray, size: Size, area: bool = OUR_FEEDING.area) -> ByteArray:
    """`image` resized to `size` (height, width), without padding; itself when it has that size.

    Bilinear, as the runtimes do it, down to half the size; below, where that skips pixels, by area.
    """
    h, w = image.shape[:2]
    if (h, w) == size:
        return image
    skips = area and (h > 2 * size[0] or w > 2 * size[1])
    way = cv2.INTER_AREA if skips else cv2.INTER_LINEAR
    resized = np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=way), np.uint8)
    return resized.reshape(*size, -1)  # OpenCV drops the axis of a single channel


def content_geometry(image_hw: Size, size: Size, reduction: int = 1) -> Geometry:
    """The geometry of an image decoded to ceil(image_hw / reduction) and resized to `size`.

    The last pixel of a reduced image may reach beyond the image: hence the rounding up.
    """
    reach_y, reach_x = (-(-side // reduction) * reduction for side in image_hw)
    return Geometry(image_hw, size, (size[0] / reach_y, size[1] / reach_x))


def pad(image: ByteArray, net_hw: Size, grey: int = GREY) -> ByteArray:
    """A copy of `image` centred on grey (see `Geometry.placed`)."""
    out = np.full((*net_hw, image.shape[2]), grey, np.uint8)
    h, w = image.shape[:2]
    top, left = (net_hw[0] - h) // 2, (net_hw[1] - w) // 2
    out[top : top + h, left : left + w] = image
    return out


def letterbox(image: ByteArray, net_hw: Size, fit: Fit = "letterbox") -> tuple[ByteArray, Geometry]:
    """An image (h, w, C) as network input (H, W, C), with the way back; for detection too."""
    hw: Size = image.shape[0], image.shape[1]
    size = fitted_size(hw, net_hw, fit)
    return pad(resize(image, size), net_hw), content_geometry(hw, size).placed(net_hw)


def unit_range(
    pixels: torch.Tensor,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.preserve_format,
) -> torch.Tensor:
    """uint8 0..255 of any shape -> `dtype` 0..1, where the pixels are.

    Bytes are a quarter of the numbers: move them to the device first.
    """
    return pixels.to(dtype, memory_format=memory_format) / 255


def picture_input(picture: ByteArray, device: torch.device | str = "cpu") -> torch.Tensor:
    """One picture (h, w, C) -> (1, C, h, w) float32 in 0..1 on `device`."""
    return pictures_input([picture], device)


def pictures_input(
    pictures: Sequence[ByteArray], device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Pictures of one size (h, w, C) -> (B, C, h, w) float32 in 0..1 on `device`."""
    return unit_range(torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2))


def _map(boxes: Boxes, scale_xy: tuple[float, float], offset_xy: tuple[float, float]) -> Boxes:
    if isinstance(boxes, torch.Tensor):
        return boxes * boxes.new_tensor(scale_xy * 2) + boxes.new_tensor(offset_xy * 2)
    moved: npt.NDArray[Any] = np.asarray(boxes, np.float64) * (scale_xy * 2) + offset_xy * 2
    return moved


def _clip(boxes: Boxes, image_hw: Size) -> Boxes:
    h, w = image_hw
    if isinstance(boxes, torch.Tensor):
        return torch.minimum(boxes.clamp(min=0), boxes.new_tensor((w, h, w, h)))
    return np.asarray(np.clip(boxes, 0, (w, h, w, h)))
