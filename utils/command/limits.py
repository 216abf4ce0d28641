"""How large a tensor or an image may be that a file of a few bytes asks for.

A cfg of three lines can ask for more memory than any machine has, and so can the header of an
image. The limit is far above what real networks need (yolov4-p7: 5 million numbers in a tensor of
weights, 150 million in one of activations at 1536 px) and is told before anything is allocated.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

FLAG = "--tensor-limit"
DEFAULT = 1 << 28  # numbers of one tensor: 1 GiB in float32
_MOST = 1 << 40
# Commands that start others (chains, comparisons) hand their environment on, and with it this.
_VARIABLE = "DARKSLIM_TENSOR_LIMIT"
_OF_OPENCV = "OPENCV_IO_MAX_IMAGE_PIXELS"  # which OpenCV reads when it is loaded
_CHANNELS = 3


def tensor_limit() -> int:
    """The most numbers that a tensor or an image may have; all weights may be half as many more."""
    text = os.environ.get(_VARIABLE, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else DEFAULT


def set_tensor_limit(limit: int) -> None:
    """For this process and those that it starts."""
    os.environ[_VARIABLE] = str(limit)
    os.environ[_OF_OPENCV] = str(limit // _CHANNELS)


def add_tensor_limit(parser: argparse._ActionsContainer) -> None:
    """Add the flag, which every command has; it leaves nothing among the parsed values."""
    parser.add_argument(
        FLAG, action=_SetLimit, type=_numbers, metavar="N", default=argparse.SUPPRESS,
        help=f"most numbers in one tensor or image, {DEFAULT} if left out: what is larger is "
        "refused before memory is taken for it",
    )  # fmt: skip


class _SetLimit(argparse.Action):
    def __call__(self, _parser: object, _namespace: object, values: Any, *_: object) -> None:
        set_tensor_limit(values)


def _numbers(text: str) -> int:
    value = int(text)
    if not 1 <= value <= _MOST:
        raise argparse.ArgumentTypeError(f"must lie between 1 and {_MOST}, got {text[:40]}")
    return value


os.environ.setdefault(_OF_OPENCV, str(tensor_limit() // _CHANNELS))
