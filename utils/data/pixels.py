"""From a file's bytes to 8-bit pixels of as many channels as the network reads.

Channels: a cfg's [net] says how many its images have. 1: grey, as Darknet loads it (colours are
weighed by OpenCV); 3: RGB, grey images three times; any other number: what the file itself holds,
in its own order but for blue and red, which are swapped as in colour images.

Depth: files of more than 8 bits do not say what their largest value means, so it is guessed per
image, with a warning once: 16-bit values below 2^8 or 2^12 are of 8- or 12-bit sensors, all others
use the whole range; floats up to 1 are shares, up to 255 levels.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

ByteArray = npt.NDArray[np.uint8]

logger = logging.getLogger(__name__)

_REDUCED_COLOUR = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_REDUCED_GREY = {
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


# As OpenCV converts while it decodes; of a TIFF of floats it does so only from IMREAD_UNCHANGED
# (4.14: "ncn == img.channels()" for a grey one that is to become colour), which comes second.
_WHOLE = {
    1: cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH,
    3: cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH,
}
_SWAPPED = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
_CONVERTED = {
    (1, 3): cv2.COLOR_GRAY2RGB,
    (4, 3): cv2.COLOR_BGRA2RGB,
    (3, 1): cv2.COLOR_BGR2GRAY,
    (4, 1): cv2.COLOR_BGRA2GRAY,
}


class PixelError(Exception):
    """Pixels that cannot become what the network reads; the text is the reason."""


def decode(raw: ByteArray, channels: int, reduction: int = 1) -> ByteArray:
    """The bytes of an image file as (h, w, channels), RGB where there are three or four.

    `reduction` 2, 4 or 8 decodes to ceil(size / reduction), of 1 and 3 channels. Raises PixelError.
    """
    reduced = {1: _REDUCED_GREY, 3: _REDUCED_COLOUR}.get(channels, {}).get(reduction)
    flag = _WHOLE.get(channels, cv2.IMREAD_UNCHANGED) if reduced is None else reduced
    image = _decoded(raw, flag)
    if image is None and channels in _WHOLE:
        image = _decoded(raw, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise PixelError("not an image that OpenCV can decode" if len(raw) else "empty file")
    pixels = to_8_bits(image)
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    if bands == channels:
        way = _SWAPPED.get(channels)
    elif (bands, channels) in _CONVERTED:
        way = _CONVERTED[bands, channels]
    else:
        raise PixelError(f"has {bands} channels, but the cfg asks for {channels}")
    converted = pixels if way is None else np.asarray(cv2.cvtColor(pixels, way), np.uint8)
    return converted.reshape(*pixels.shape[:2], channels)


def _decoded(raw: ByteArray, flag: int) -> npt.NDArray[Any] | None:
    try:
        return cv2.imdecode(raw, flag) if len(raw) else None
    except (cv2.error, MemoryError):
        return None


def to_8_bits(image: npt.NDArray[Any]) -> ByteArray:
    """The same picture in 0..255, by the rule of this module. Raises PixelError."""
    if image.dtype == np.uint8:
        return np.asarray(image, np.uint8)
    if image.dtype == np.uint16:
        highest = int(image.max(initial=0))
        bits = 8 if highest < 1 << 8 else 12 if highest < 1 << 12 else 16
        if bits < 16:
            _tell(f"16-bit images whose values stay below 2^{bits}", f"{bits}-bit ones")
        return np.asarray(image >> (bits - 8), np.uint8)
    if image.dtype in (np.float32, np.float64):
        low, high = float(image.min(initial=0)), float(image.max(initial=0))
        if not (low >= 0 and high <= 255):  # this way round, NaN is refused, too
            raise PixelError(f"its numbers, {low:g} to {high:g}, are neither 0..1 nor 0..255")
        _tell(*(("images of floats up to 1", "shares of white") if high <= 1 else
                ("images of floats up to 255", "grey levels")))  # fmt: skip
        return np.asarray(np.rint(image * (255 if high <= 1 else 1)), np.uint8)
    raise PixelError(f"pixels of type {image.dtype} have no known range")


@functools.cache
def _tell(what: str, taken_for: str) -> None:
    """One warning of a kind, whatever the number of images."""
    logger.warning("%s are taken for %s: their files do not say so", what, taken_for)
