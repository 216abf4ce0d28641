"""The file of a sensitivity: JSON of one version, read as data that anyone may have written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, cast, get_args

from ...command.errors import UserError
from ...command.files import atomic_write, require_file
from .record import Curve, Images, Measure, Point, Ranked, Scores, Sensitivity

FORMAT, VERSION = "darkslim sensitivity", 1
_MOST_BYTES = 32 << 20
_MOST_CHANNELS = 1 << 20
_MOST_LAYERS = 1 << 16
_HASH_LENGTH = 64


def write_sensitivity(found: Sensitivity, path: Path) -> None:
    """Write it, whole; the same figures give the same bytes."""
    content = {"format": FORMAT, "version": VERSION, **asdict(found)}
    text = json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_sensitivity(path: str | Path) -> Sensitivity:
    """What `write_sensitivity` wrote. Raises UserError, in one line, for anything else."""
    source = require_file(path, "the file of --sensitivity")
    try:
        size = source.stat().st_size
        if size > _MOST_BYTES:
            _fail(f"larger than {_MOST_BYTES >> 20} MiB")
        content = json.loads(source.read_text(encoding="utf-8"), parse_constant=_no_number)
        return _sensitivity(content)
    except _WrongError as error:
        raise UserError(f"{source}: {error}; sensitivity.py writes such files") from None
    except OSError as error:
        raise UserError(f"{source}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError, OverflowError):  # no JSON, no text, a number too long
        raise UserError(
            f"{source}: is no JSON file of a sensitivity; sensitivity.py writes such files"
        ) from None


class _WrongError(Exception):
    """What is wrong with the content."""


def _fail(what: str) -> NoReturn:
    raise _WrongError(what)


def _no_number(text: str) -> NoReturn:
    _fail(f"holds {text}, which is no number")


def _sensitivity(content: object) -> Sensitivity:
    fields = _object(content, "the file")
    if fields.get("format") != FORMAT:
        _fail("is no sensitivity")
    if fields.get("version") != VERSION:
        _fail(f"is of version {str(fields.get('version'))[:20]}, this program reads {VERSION}")
    measure = _text(fields, "measure")
    if measure not in get_args(Measure):
        _fail(f"measure: must be one of {', '.join(get_args(Measure))}")
    ranked, images = (_object(fields.get(key), key) for key in ("ranked", "images"))
    size = _list(fields, "img_size", 2)
    if len(size) != 2:
        _fail("img_size: must hold height and width")
    curves = tuple(_curve(each) for each in _list(fields, "curves", _MOST_LAYERS))
    named = [layer for curve in curves for layer in curve.layers]
    if len(set(named)) < len(named):
        _fail("curves: name a layer twice")
    return Sensitivity(
        _hash(fields, "cfg_sha256"),
        _hash(fields, "weights_sha256"),
        cast(Measure, measure),
        _scores(fields.get("base")),
        Ranked(*(_text(ranked, key) for key in ("strategy", "importance", "normalize"))),
        Images(
            _count(images, "count", 1 << 40),
            _share(images, "share"),
            _count(images, "seed", 1 << 64),
        ),
        (_whole(size[0], "img_size", 1 << 20), _whole(size[1], "img_size", 1 << 20)),
        _count(fields, "recalibrate", 1 << 40),
        curves,
    )


def _curve(content: object) -> Curve:
    fields = _object(content, "a curve")
    layers = tuple(
        _whole(each, "layers", _MOST_LAYERS) for each in _list(fields, "layers", 1 << 12)
    )
    channels = _count(fields, "channels", _MOST_CHANNELS)
    points = tuple(_point(each, channels) for each in _list(fields, "points", 1000))
    if not layers or not points:
        _fail("curves: one has no layers or no points")
    return Curve(layers, channels, points)


def _point(content: object, channels: int) -> Point:
    fields = _object(content, "a point")
    drop, predicted = (_number(fields.get(key), key) for key in ("drop", "predicted"))
    if drop is None:
        _fail("a point: has no drop")
    return Point(
        _share(fields, "share"),
        _count(fields, "gone", channels),
        drop,
        _scores(fields.get("scores")),
        predicted,
    )


def _scores(content: object) -> Scores:
    fields = _object(content, "scores")
    return Scores(*(_number(fields.get(key), key) for key in ("loss", "map50", "map")))


def _object(content: object, what: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        _fail(f"{what}: is no object")
    return content


def _list(fields: Mapping[str, Any], key: str, most: int) -> list[Any]:
    found = fields.get(key)
    if not isinstance(found, list) or len(found) > most:
        _fail(f"{key}: must be a list of at most {most}")
    return found


def _text(fields: Mapping[str, Any], key: str) -> str:
    found = fields.get(key)
    if not isinstance(found, str) or len(found) > 100:
        _fail(f"{key}: must be a word")
    return found


def _hash(fields: Mapping[str, Any], key: str) -> str:
    found = _text(fields, key)
    if len(found) != _HASH_LENGTH or set(found) - set("0123456789abcdef"):
        _fail(f"{key}: is no sha256")
    return found


def _count(fields: Mapping[str, Any], key: str, most: int) -> int:
    return _whole(fields.get(key), key, most)


def _whole(value: object, what: str, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        _fail(f"{what}: must be a whole number from 0 to {most}")
    return value


def _share(fields: Mapping[str, Any], key: str) -> float:
    found = _number(fields.get(key), key)
    if found is None or not 0 <= found <= 1:
        _fail(f"{key}: must lie between 0 and 1")
    return found


def _number(value: object, what: str) -> float | None:
    """A finite number, or None."""
    if value is None:
        return None
    if type(value) not in (int, float):
        _fail(f"{what}: must be a number")
    found = float(cast(float, value))
    if not math.isfinite(found):
        _fail(f"{what}: must be finite")
    return found
