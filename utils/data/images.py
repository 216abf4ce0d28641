"""Image files: their size without decoding them, and decoding them no larger than needed."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..command.limits import FLAG as LIMIT_FLAG
from ..command.limits import tensor_limit
from ..command.outside.regular import is_special
from .pixels import ByteArray, PixelError, decode

Size = tuple[int, int]  # (height, width) in pixels

_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8"
# Start-of-frame markers; C4, C8 and CC in that range are something else.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))


class UnreadableImageError(Exception):
    """An image that does not open; the text is the reason, without the path."""


def image_size(path: Path) -> Size:
    """(height, width) as the image is shown, that is, turned as its EXIF data says.

    Reads only the header of JPEG and PNG files. Raises UnreadableImageError.
    """
    try:
        _require_regular(path)
        with path.open("rb") as file:
            size = _header_size(file)
    except (OSError, ValueError) as error:
        raise UnreadableImageError(_reason(error)) from None
    except struct.error:
        raise UnreadableImageError("the file ends within the image's header") from None
    if size is None:
        size = read_image(path).shape[:2]
    if min(size) < 1:
        raise UnreadableImageError("the image has no pixels")
    _require_small(size)
    return size


def read_image(path: Path, reduction: int = 1, channels: int = 3) -> ByteArray:
    """(h, w, channels), RGB for 3, turned as EXIF says (see `pixels.decode`).

    `reduction` 2, 4 or 8 decodes to ceil(size / reduction); only JPEG files gain from it. Raises
    UnreadableImageError.
    """
    try:
        _require_regular(path)
        raw = np.fromfile(path, np.uint8)  # unlike cv2.imread, takes any path on any system
        _require_small_header(raw)
        return decode(raw, channels, reduction)
    except (OSError, ValueError) as error:
        raise UnreadableImageError(_reason(error)) from None
    except PixelError as error:
        raise UnreadableImageError(str(error)) from None


def _require_regular(path: Path) -> None:
    """A pipe would be waited for, a device read for ever."""
    if is_special(path):
        raise UnreadableImageError("a pipe or a device, not a file")


def _require_small(size: Size) -> None:
    """A header of a few bytes can state more pixels than memory holds."""
    if size[0] * size[1] * 3 > tensor_limit():
        raise UnreadableImageError(
            f"{size[1]} x {size[0]} pixels are more than {LIMIT_FLAG} allows"
        )


def _require_small_header(raw: ByteArray) -> None:
    """Raises UnreadableImageError; of formats and headers that only decoding tells, nothing."""
    try:
        size = _header_size(io.BytesIO(raw.tobytes()))
    except (struct.error, UnreadableImageError):
        return  # the decoder knows better what is wrong
    if size is not None:
        _require_small(size)


def best_reduction(path: Path, size: Size, wanted: Size) -> int:
    """Largest of 8, 4, 2, 1 that still decodes a JPEG of `size` to at least `wanted`."""
    if path.suffix.lower() not in (".jpg", ".jpeg"):
        return 1
    fitting = (r for r in (8, 4, 2) if all(s >= r * w for s, w in zip(size, wanted, strict=True)))
    return next(fitting, 1)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such image"
    return (error.strerror if isinstance(error, OSError) else None) or "cannot be read"


def _header_size(file: BinaryIO) -> Size | None:
    """(height, width) from the header, or None when only decoding can tell."""
    start = file.read(24)
    if not start:
        raise UnreadableImageError("empty file")
    if start.startswith(_PNG_START):
        return _png_size(file, start)
    if start.startswith(_JPEG_START):
        file.seek(2)
        return _jpeg_size(file)
    return None


def _png_size(file: BinaryIO, start: bytes) -> Size | None:
    """IHDR comes first. An eXIf chunk before the pixels may turn the image: left to the decoder."""
    width, height = struct.unpack(">II", start[16:24])
    position = 8
    while True:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"eXIf":
            return None
        if kind in (b"IDAT", b"IEND"):
            return int(height), int(width)
        position += 12 + length


def _jpeg_size(file: BinaryIO) -> Size | None:
    """Walk the segments to the start of frame (ITU T.81, B.1), noting EXIF's orientation."""
    turned = False
    while True:
        marker = _next_marker(file)
        if marker in _JPEG_WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack(">xHH", file.read(5))
            if height == 0:  # given only after the pixels (DNL)
                return None
            return (width, height) if turned else (height, width)
        if marker == 0xDA:
            raise UnreadableImageError("a JPEG file without a frame header")
        if marker == 0xE1:
            turned |= _is_turned(file.read(max(length - 2, 0)))
        else:
            file.seek(max(length - 2, 0), os.SEEK_CUR)


def _next_marker(file: BinaryIO) -> int:
    """The byte after 0xFF; any number of 0xFF may fill the space before it."""
    (first, marker) = struct.unpack("BB", file.read(2))
    if first != 0xFF:
        raise UnreadableImageError("a damaged JPEG header")
    while marker == 0xFF:
        (marker,) = struct.unpack("B", file.read(1))
    return int(marker)


def _is_turned(segment: bytes) -> bool:
    """Whether EXIF tag 0x0112 (orientation) is 5..8, which swaps width and height."""
    if not segment.startswith(b"Exif\0\0"):
        return False
    tiff = segment[6:]
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return False
    try:
        (first_directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, first_directory)
        for entry in range(entries):
            at = first_directory + 2 + 12 * entry
            (tag,) = struct.unpack_from(f"{order}H", tiff, at)
            if tag == 0x0112:
                (value,) = struct.unpack_from(f"{order}H", tiff, at + 8)
                return int(value) in range(5, 9)
    except struct.error:
        return False
    return False
