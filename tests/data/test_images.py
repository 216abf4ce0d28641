"""Sizes from headers, and decoding no larger than needed."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tiny_data import noise_picture, write_image
from utils.data.images import UnreadableImageError, best_reduction, image_size, read_image

H, W = 30, 50


def exif(order: str, orientation: int) -> bytes:
    """A JPEG APP1 segment that holds one tag."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = mark + struct.pack(f"{order}IH", 8, 1) + entry + struct.pack(f"{order}I", 0)
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def jpeg(segments: bytes = b"") -> bytes:
    raw = cv2.imencode(".jpg", noise_picture(H, W, 0))[1].tobytes()
    return raw[:2] + segments + raw[2:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(10))
def test_exif_orientation_as_opencv_applies_it(
    tmp_path: Path, order: str, orientation: int
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(exif(order, orientation)))
    assert image_size(path) == read_image(path).shape[:2]
    assert image_size(path) == ((W, H) if 5 <= orientation <= 8 else (H, W))


@pytest.mark.parametrize("extension", ["jpg", "png", "bmp", "webp", "tif"])
def test_size_and_colours_of_each_format(tmp_path: Path, extension: str) -> None:
    red = np.zeros((H, W, 3), np.uint8)
    red[..., 0] = 250
    path = write_image(tmp_path / f"ü.{extension}", red) if extension == "bmp" else tmp_path / "x"
    encoded = cv2.imencode(f".{extension}", cv2.cvtColor(red, cv2.COLOR_RGB2BGR))[1]
    path.write_bytes(encoded.tobytes())
    assert image_size(path) == (H, W)
    image = read_image(path)
    assert image[..., 0].min() > 240
    assert image[..., 1:].max() < 10


def test_grey_alpha_and_16_bit_images_become_rgb(tmp_path: Path) -> None:
    for number, shape in enumerate([(H, W), (H, W, 4)]):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full(shape, 120, np.uint8))
        assert read_image(path).shape == (H, W, 3)
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((H, W, 3), 40_000, np.uint16))
    assert read_image(tmp_path / "deep.png").dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello, this is no image at all", "not an image"),
        (b"\xff\xd8\xff\xe0\x00", "ends within the image's header"),
        (b"\xff\xd8\x00\x00\x00\x00", "damaged JPEG header"),
        (b"\xff\xd8\xff\xda\x00\x04\x00\x00", "without a frame header"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 10, "ends within"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + b"\0" * 17 + b"\0\0\0\0IDAT", "no pixels"),
    ],
)
def test_damaged_headers_have_a_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=reason):
        image_size(path)
    with pytest.raises(UnreadableImageError):
        read_image(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.jpg", "no such image"), (tmp_path, "directory")):
        with pytest.raises(UnreadableImageError, match=reason):
            image_size(path)
        with pytest.raises(UnreadableImageError, match=reason):
            read_image(path)


@given(st.binary(max_size=80), st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM"]))
def test_any_bytes_give_a_size_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes, head: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.jpg"
    path.write_bytes(head + tail)
    try:
        assert min(image_size(path)) >= 1
    except UnreadableImageError as error:
        assert str(error)


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_reduced_jpeg_has_the_rounded_up_size(tmp_path: Path, reduction: int) -> None:
    path = write_image(tmp_path / "a.jpg", noise_picture(101, 67, 0))
    expected = (-(-101 // reduction), -(-67 // reduction), 3)
    assert read_image(path, reduction).shape == expected


def test_best_reduction_never_falls_below_what_is_wanted() -> None:
    jpg, png = Path("a.JPG"), Path("a.png")
    assert best_reduction(jpg, (800, 1600), (100, 200)) == 8
    assert best_reduction(jpg, (800, 1599), (100, 200)) == 4
    assert best_reduction(jpg, (480, 640), (312, 416)) == 1
    assert best_reduction(png, (800, 1600), (100, 200)) == 1
