"""The zoo's blocks as modules of ultralytics: arguments, and its name of each convolution.

A checkpoint that is translated notes both (cfg/module_note.py); a network that is written anew
notes the same, so that it can go back. Names stand in the order in which the blocks write their
convolutions, with the part after a colon; "" is the module itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...cfg.module_note import HALVES, KEYS, LIKE_VALUES, QUERIES, SCALE, VALUES

Argument = int | float | bool

_HALVES = tuple(f"cv1:{half}" for half in HALVES)
_BOTTLENECK = ("cv1", "cv2")
_C3K = ("cv1", "m.0.cv1", "m.0.cv2", "m.1.cv1", "m.1.cv2", "cv2", "cv3")
_TWO_PATHS = ("cv1", "cv2")


@dataclass(frozen=True)
class Module:
    """kind: its class. args: of a description's row. convs: names in order. repeats: inside it."""

    kind: str
    args: tuple[Argument, ...]
    convs: tuple[str, ...]
    repeats: int = 1

    def row(self) -> list[object]:
        """A line of a description: it reads the block before."""
        return [-1, self.repeats, self.kind, list(self.args)]

    def places(self, number: int) -> list[str]:
        """The names in the network, of which the module is block `number`."""
        return [f"{number}.{name}" if name else str(number) for name in self.convs]


def conv(width: int, stride: int) -> Module:
    """A 3x3 convolution."""
    return Module("Conv", (width, 3, stride), ("",))


def scdown(width: int) -> Module:
    """YOLOv10's halving."""
    return Module("SCDown", (width, 3, 2), _TWO_PATHS)


def sppf(width: int, added: bool) -> Module:
    """Poolings; `added`: of YOLO26, with its input."""
    return Module("SPPF", (width, 5, 3, True) if added else (width, 5), _TWO_PATHS)


def c2f(width: int, repeats: int, add: bool) -> Module:
    """YOLOv8's block."""
    return Module("C2f", (width, add), _of_c2f(_BOTTLENECK, repeats), repeats)


def c2f_cib(width: int, repeats: int, large: bool) -> Module:
    """YOLOv10's; the two kernels of a large one are modules of their own."""
    middle = ("cv1.2.conv1", "cv1.2.conv") if large else ("cv1.2",)
    inner = ("cv1.0", "cv1.1", *middle, "cv1.3", "cv1.4")
    return Module("C2fCIB", (width, True, large), _of_c2f(inner, repeats), repeats)


def c3k2(width: int, repeats: int, inner: str, share: float) -> Module:
    """YOLO11's, of "plain" bottlenecks, "c3k", or "attention"."""
    if inner == "attention":
        names = (*_inside("0", _BOTTLENECK), *_inside("1", _psa_block()))
        return Module("C3k2", (width, True, share, True), _of_c2f(names, repeats), repeats)
    of_c3k = inner == "c3k"
    names = _C3K if of_c3k else _BOTTLENECK
    return Module("C3k2", (width, of_c3k, share), _of_c2f(names, repeats), repeats)


def psa(width: int) -> Module:
    """YOLOv10's, with attention of its own."""
    return Module("PSA", (width,), (*_HALVES, *_psa_block(), "cv2"))


def c2psa(width: int, repeats: int) -> Module:
    """YOLO11's and 26's, with a row of blocks that attend."""
    return Module("C2PSA", (width,), _of_c2f(_psa_block(), repeats), repeats)


def a2c2f(width: int, repeats: int, area: int, ratio: float, scaled: bool) -> Module:
    """YOLO12's with attention; area 0: with C3k in its place."""
    if not area:
        return Module("A2C2f", (width, False, -1), _rows(_C3K, repeats), repeats)
    block = (*_attention(LIKE_VALUES), "mlp.0", "mlp.1")
    twice = (*_inside("0", block), *_inside("1", block))
    names = _rows(twice, repeats)
    if scaled:
        names = (*names, f"gamma:{SCALE}")
    return Module("A2C2f", (width, True, area, scaled, ratio), names, repeats)


def heads(number: int, levels: int, light: bool, two_sets: bool) -> Iterator[str]:
    """The names of a head's convolutions; `light`: its class branches are depthwise in turns."""
    classes = ("0.0", "0.1", "1.0", "1.1", "2") if light else ("0", "1", "2")
    for prefix in ("", "one2one_") if two_sets else ("",):
        for level in range(levels):
            for branch, names in (("cv2", ("0", "1", "2")), ("cv3", classes)):
                yield from _inside(f"{number}.{prefix}{branch}.{level}", names)


def _psa_block() -> tuple[str, ...]:
    return (*_attention(QUERIES), "ffn.0", "ffn.1")


def _attention(queries: str) -> tuple[str, ...]:
    parts = (f"attn.qkv:{part}" for part in (queries, KEYS, VALUES))
    return (*parts, "attn.pe", "attn.proj")


def _of_c2f(inner: Sequence[str], repeats: int) -> tuple[str, ...]:
    return (*_HALVES, *_repeated(inner, repeats), "cv2")


def _rows(inner: Sequence[str], repeats: int) -> tuple[str, ...]:
    return ("cv1", *_repeated(inner, repeats), "cv2")


def _repeated(inner: Sequence[str], repeats: int) -> tuple[str, ...]:
    return tuple(name for k in range(repeats) for name in _inside(f"m.{k}", inner))


def _inside(holder: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{holder}.{name}" for name in names)
