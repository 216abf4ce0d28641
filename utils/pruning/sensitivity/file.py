"""The file of a sensitivity: JSON of one version, read as data that anyone may have written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import cast, get_args

from ..strict_json import (
    a_count,
    a_hash,
    a_list,
    a_share,
    a_word,
    an_object,
    fail,
    number,
    of_format,
    read_content,
    whole,
    write_content,
)
from .record import Curve, Images, Measure, Point, Ranked, Scores, Sensitivity

FORMAT, VERSION = "darkslim sensitivity", 1
_MOST_CHANNELS = 1 << 20
_MOST_LAYERS = 1 << 16


def write_sensitivity(found: Sensitivity, path: Path) -> None:
    """Write it, whole; the same figures give the same bytes."""
    write_content({"format": FORMAT, "version": VERSION, **asdict(found)}, path)


def read_sensitivity(path: str | Path) -> Sensitivity:
    """What `write_sensitivity` wrote. Raises UserError, in one line, for anything else."""
    return read_content(path, "--sensitivity", "a sensitivity", "sensitivity.py", _sensitivity)


def _sensitivity(content: object) -> Sensitivity:
    fields = of_format(content, "sensitivity", FORMAT, VERSION)
    measure = a_word(fields, "measure")
    if measure not in get_args(Measure):
        fail(f"measure: must be one of {', '.join(get_args(Measure))}")
    ranked, images = (an_object(fields.get(key), key) for key in ("ranked", "images"))
    size = a_list(fields, "img_size", 2)
    if len(size) != 2:
        fail("img_size: must hold height and width")
    curves = tuple(_curve(each) for each in a_list(fields, "curves", _MOST_LAYERS))
    named = [layer for curve in curves for layer in curve.layers]
    if len(set(named)) < len(named):
        fail("curves: name a layer twice")
    return Sensitivity(
        a_hash(fields, "cfg_sha256"),
        a_hash(fields, "weights_sha256"),
        cast(Measure, measure),
        _scores(fields.get("base")),
        Ranked(*(a_word(ranked, key) for key in ("strategy", "importance", "normalize"))),
        Images(
            a_count(images, "count", 1 << 40),
            a_share(images, "share"),
            a_count(images, "seed", 1 << 64),
        ),
        (whole(size[0], "img_size", 1 << 20), whole(size[1], "img_size", 1 << 20)),
        a_count(fields, "recalibrate", 1 << 40),
        curves,
    )


def _curve(content: object) -> Curve:
    fields = an_object(content, "a curve")
    layers = tuple(
        whole(each, "layers", _MOST_LAYERS) for each in a_list(fields, "layers", 1 << 12)
    )
    channels = a_count(fields, "channels", _MOST_CHANNELS)
    points = tuple(_point(each, channels) for each in a_list(fields, "points", 1000))
    if not layers or not points:
        fail("curves: one has no layers or no points")
    return Curve(layers, channels, points)


def _point(content: object, channels: int) -> Point:
    fields = an_object(content, "a point")
    drop, predicted = (number(fields.get(key), key) for key in ("drop", "predicted"))
    if drop is None:
        fail("a point: has no drop")
    return Point(
        a_share(fields, "share"),
        a_count(fields, "gone", channels),
        drop,
        _scores(fields.get("scores")),
        predicted,
    )


def _scores(content: object) -> Scores:
    fields = an_object(content, "scores")
    return Scores(*(number(fields.get(key), key) for key in ("loss", "map50", "map")))
