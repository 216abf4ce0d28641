"""A latency table as a file: JSON, of any device, read as data that anyone may have written.

Nothing here needs a tensor, so that a file that is wrong is told before any work. A device that
cannot run latency_table.py may have its table written by any program:

    {"format": "darkslim latency table", "version": 1,
     "cfg_sha256": "...", "img_hw": [320, 320], "runtime": "onnx", "device": "some board",
     "whole_ms": {"median": 31.0, "p10": 30.2, "p90": 33.1},
     "layers": [{"layers": [0], "inputs": [3], "outputs": [2, 4, 8, 16],
                 "times_ms": [[0.3, 0.4, 0.6, 1.1]], "tied": false}, ...]}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..strict_json import (
    Fields,
    a_hash,
    a_list,
    a_word,
    an_object,
    fail,
    number,
    of_format,
    read_content,
    whole,
    write_content,
)

FORMAT, VERSION, WRITER = "darkslim latency table", 1, "latency_table.py"
_MOST_LAYERS, _MOST_WIDTHS, _MOST_CHANNELS, _MOST_PX = 1 << 16, 256, 1 << 20, 1 << 16


@dataclass(frozen=True)
class LayerTimes:
    """`times_ms[a][b]` of equal layers, at `inputs[a]` input and `outputs[b]` output channels.

    layers: their indices in the cfg, from 0. tied: widths of groups, where the outputs alone say
    how wide a layer is and there is one row.
    """

    layers: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    times_ms: tuple[tuple[float, ...], ...]
    tied: bool


@dataclass(frozen=True)
class TableFile:
    """Times of each layer with a kernel and of the whole network, of one image.

    img_hw: the input, in pixels. runtime, device: what ran it, in words. whole_ms: median, p10 and
    p90 of the whole network.
    """

    cfg_sha256: str
    img_hw: tuple[int, int]
    runtime: str
    device: str
    whole_ms: Mapping[str, float]
    layers: tuple[LayerTimes, ...]


def write_table_file(table: TableFile, path: Path) -> None:
    """Write it, whole; the same table gives the same bytes."""
    write_content({"format": FORMAT, "version": VERSION, **asdict(table)}, path)


def read_table_file(path: str | Path) -> TableFile:
    """What `write_table_file` wrote. Raises UserError, in one line, for anything else."""
    return read_content(path, "--latency-table", "a latency table", WRITER, _table)


def _table(content: object) -> TableFile:
    fields = of_format(content, "latency table", FORMAT, VERSION)
    img_hw = _counts(fields, "img_hw", 2, _MOST_PX)
    if len(img_hw) != 2:
        fail("img_hw: must be height and width")
    whole_ms = an_object(fields.get("whole_ms"), "whole_ms")
    layers = tuple(_layer(each) for each in a_list(fields, "layers", _MOST_LAYERS))
    named = [index for each in layers for index in each.layers]
    if not layers:
        fail("layers: there are none")
    if len(set(named)) < len(named):
        fail("layers: name a layer twice")
    return TableFile(
        a_hash(fields, "cfg_sha256"),
        (img_hw[0], img_hw[1]),
        a_word(fields, "runtime"),
        a_word(fields, "device"),
        {key: _ms(whole_ms.get(key), f"whole_ms {key}") for key in ("median", "p10", "p90")},
        layers,
    )


def _layer(content: object) -> LayerTimes:
    fields = an_object(content, "a layer")
    tied = fields.get("tied")
    if not isinstance(tied, bool):
        fail("tied: must be true or false")
    layers = tuple(
        whole(each, "layers", _MOST_LAYERS) for each in a_list(fields, "layers", _MOST_LAYERS)
    )
    inputs, outputs = (
        _counts(fields, key, _MOST_WIDTHS, _MOST_CHANNELS) for key in ("inputs", "outputs")
    )
    rows = tuple(_row(each, len(outputs)) for each in a_list(fields, "times_ms", _MOST_WIDTHS))
    if not layers:
        fail("layers: an entry names none")
    if len(rows) != (1 if tied else len(inputs)) or (tied and len(inputs) != len(outputs)):
        fail("times_ms: must have a row for each of inputs, and a single one where widths are tied")
    return LayerTimes(layers, inputs, outputs, rows, tied)


def _row(content: object, length: int) -> tuple[float, ...]:
    if not isinstance(content, list) or len(content) != length:
        fail("times_ms: each row must have a time for each of outputs")
    return tuple(_ms(each, "times_ms") for each in content)


def _ms(value: Any, what: str) -> float:
    found = number(value, what)
    if found is None or found <= 0:
        fail(f"{what}: must be a positive number of milliseconds")
    return found


def _counts(fields: Fields, key: str, most: int, largest: int) -> tuple[int, ...]:
    """Ascending positive numbers; of img_hw, in any order."""
    found = tuple(whole(each, key, largest) for each in a_list(fields, key, most))
    ascending = key == "img_hw" or list(found) == sorted(set(found))
    if not found or min(found) < 1 or not ascending:
        fail(f"{key}: must be positive and ascending numbers")
    return found
