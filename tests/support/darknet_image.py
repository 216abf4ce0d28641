"""Images as Darknet itself feeds them: its own resize, stretched or letterboxed, in floats.

The commands resize 8-bit images with OpenCV, as runtimes do. These functions are for results that
shall equal Darknet's.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from utils.data.images import Size
from utils.data.options import Fit
from utils.data.pixels import ByteArray

GREY = 0.5


def darknet_input(image: ByteArray, net_hw: Size, fit: Fit) -> Tensor:
    """An RGB image (h, w, 3) as network input (1, 3, H, W), 0..1."""
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    if fit == "stretch":
        return darknet_resize(x, net_hw)
    height, width = letterboxed_size((image.shape[0], image.shape[1]), net_hw)
    top, left = (net_hw[0] - height) // 2, (net_hw[1] - width) // 2
    out = x.new_full((1, 3, *net_hw), GREY)
    out[..., top : top + height, left : left + width] = darknet_resize(x, (height, width))
    return out


def darknet_resize(x: Tensor, size: Size) -> Tensor:
    """(B, C, h, w) -> (B, C, *size): bilinear, corner pixels on corner pixels (`resize_image`)."""
    return interpolate(x, size, mode="bilinear", align_corners=True)


def letterboxed_size(image_hw: Size, net_hw: Size) -> Size:
    """(height, width) of the image within the input, cut down to whole pixels as Darknet does."""
    (h, w), (net_h, net_w) = image_hw, net_hw
    if net_w / w < net_h / h:
        return max(h * net_w // w, 1), net_w
    return net_h, max(w * net_h // h, 1)
