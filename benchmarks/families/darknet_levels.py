"""A network by AlexeyAB's own library: what each level's head reads.

python -m benchmarks.families.darknet_levels libdarknet.so my.cfg my.weights images.npy found.npz

The library gives the last layer's output alone. So the cfg is cut behind each head in turn: the
numbers of the layers before it come first in the weights. It writes its lines to stdout, and ends
the process when it refuses something. (make LIBSO=1 AVX=0, with -O3 in place of -Ofast.)
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from utils.cfg import format_cfg, load_cfg
from utils.network.layers import Head, build_layers


def main(library: str, cfg: str, weights: str, images: str, target: str) -> None:
    """Write `level0`, `level1`, ..., flat, to the target."""
    program = ctypes.CDLL(library)
    program.load_network_custom.restype = ctypes.c_void_p
    program.load_network_custom.argtypes = [
        ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int,
    ]  # fmt: skip
    program.network_predict_ptr.restype = ctypes.POINTER(ctypes.c_float)
    program.network_predict_ptr.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_float)]
    pixels = np.ascontiguousarray(np.load(images), np.float32)
    found = {}
    for level, (text, count) in enumerate(cuts(Path(cfg))):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cut.cfg"
            path.write_text(text, encoding="utf-8")
            network = program.load_network_custom(str(path).encode(), weights.encode(), 0, 1)
        answer = program.network_predict_ptr(
            network, pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        )
        found[f"level{level}"] = np.ctypeslib.as_array(answer, (count,)).copy()
    np.savez(target, **found)


def cuts(cfg: Path) -> list[tuple[str, int]]:
    """The text up to each head and, of its output, how many numbers there are."""
    whole = load_cfg(cfg)
    found = []
    for layer in build_layers(whole):
        if isinstance(layer, Head):
            part = replace(whole, layers=whole.layers[: layer.index + 1])
            found.append((format_cfg(part), int(np.prod(layer.shape))))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
