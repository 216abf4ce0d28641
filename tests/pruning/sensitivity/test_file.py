"""The file of a sensitivity: what is written comes back; anything else is told in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slim_prune import STRATEGY
from utils.command.errors import UserError
from utils.pruning.command.flags import read_flags
from utils.pruning.sensitivity.file import read_sensitivity, write_sensitivity
from utils.pruning.sensitivity.record import (
    Curve,
    Images,
    Point,
    Ranked,
    Scores,
    Sensitivity,
    spearman,
)

FOUND = Sensitivity(
    cfg_sha256="0" * 64,
    weights_sha256="f" * 64,
    measure="map",
    base=Scores(2.5, 0.75, 0.5),
    ranked=Ranked("slim_prune", "bn", "none"),
    images=Images(24, 0.1, 0),
    img_size=(32, 64),
    recalibrate=0,
    curves=(
        Curve((0, 2), 8, (Point(0.5, 4, 1 / 3, Scores(3.1, 0.5, 0.2), 0.7),)),
        Curve((3,), 4, (Point(0.5, 2, -0.01, Scores(2.4, 0.76), None),)),
    ),
)


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        write_sensitivity(FOUND, tmp_path / name)
    assert read_sensitivity(tmp_path / "a.json") == FOUND
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert FOUND.shares == (0.5,)


def edited(change: Callable[[dict[str, Any]], object]) -> str:
    """The file's text after a change of its content."""
    content = json.loads(json.dumps(VALID))
    change(content)
    return json.dumps(content)


VALID: dict[str, Any] = {
    "format": "darkslim sensitivity",
    "version": 1,
    "cfg_sha256": "0" * 64,
    "weights_sha256": "f" * 64,
    "measure": "map",
    "base": {"loss": 2.5, "map50": 0.75, "map": None},
    "ranked": {"strategy": "slim_prune", "importance": "bn", "normalize": "none"},
    "images": {"count": 24, "share": 0.1, "seed": 0},
    "img_size": [32, 64],
    "recalibrate": 0,
    "curves": [
        {
            "layers": [0],
            "channels": 4,
            "points": [{"share": 0.5, "gone": 2, "drop": 0.1, "scores": {}, "predicted": None}],
        }
    ],
}

WRONG = {
    "nothing": ("", "is no JSON file"),
    "no JSON": ("layers,channels\n0,8\n", "is no JSON file"),
    "deeply nested": ("[" * 100_000, "is no JSON file"),
    "a huge number": ("1" * 5000, "is no JSON file"),
    "a list": ("[]", "the file: is no object"),
    "another file": ('{"format": "plan"}', "is no sensitivity"),
    "a later version": (edited(lambda c: c.update(version=2)), "is of version 2"),
    "no number": (edited(lambda c: c.update(base={"loss": float("nan")})), "holds NaN"),
    "infinity": (edited(lambda c: c).replace("0.75", "1e999"), "map50: must be finite"),
    "another measure": (edited(lambda c: c.update(measure="F1")), "measure: must be one of"),
    "half a hash": (edited(lambda c: c.update(cfg_sha256="0f")), "cfg_sha256: is no sha256"),
    "a word as a count": (edited(lambda c: c.update(recalibrate="8")), "recalibrate: must be"),
    "yes as a count": (edited(lambda c: c.update(recalibrate=True)), "recalibrate: must be"),
    "one side": (edited(lambda c: c.update(img_size=[32])), "img_size: must hold"),
    "no curves": (edited(lambda c: c.pop("curves")), "curves: must be a list"),
    "a layer twice": (edited(lambda c: c["curves"].append(c["curves"][0])), "name a layer twice"),
    "no points": (edited(lambda c: c["curves"][0].update(points=[])), "no layers or no points"),
    "more gone than there are": (
        edited(lambda c: c["curves"][0].update(channels=1)), "gone: must be a whole number",
    ),
    "less than none": (edited(lambda c: c["curves"][0].update(channels=-4)), "channels: must be"),
    "no drop": (
        edited(lambda c: c["curves"][0]["points"][0].pop("drop")), "a point: has no drop",
    ),
    "a share over 1": (
        edited(lambda c: c["curves"][0]["points"][0].update(share=1.5)), "share: must lie",
    ),
    "text for scores": (
        edited(lambda c: c["curves"][0]["points"][0].update(scores="good")), "scores: is no object",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_anything_else_is_one_line_with_the_file(name: str, tmp_path: Path) -> None:
    text, said = WRONG[name]
    path = tmp_path / "found.json"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as error:
        read_sensitivity(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_the_file_that_all_of_these_are_made_from_is_right(tmp_path: Path) -> None:
    """Negative control."""
    (tmp_path / "found.json").write_text(edited(lambda content: content))
    assert read_sensitivity(tmp_path / "found.json").curves[0].points[0].gone == 2


def test_bytes_that_are_no_text_and_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "found.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is no JSON file"):
        read_sensitivity(tmp_path / "found.json")
    for gone in (tmp_path / "gone.json", tmp_path):
        with pytest.raises(UserError, match=r"the file of --sensitivity|cannot be read"):
            read_sensitivity(gone)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--sensitivity", "a.json"], "--sensitivity: needs --max-layer-drop"),
        (["--max-layer-drop", "0.01"], "--max-layer-drop: needs --sensitivity"),
        (["--sensitivity", "a.json", "--max-layer-drop", "-1"], "at least 0, got -1"),
        (["--sensitivity", "a.json", "--max-layer-drop", "nan"], "at least 0, got nan"),
        (["--sensitivity", "gone.json", "--max-layer-drop", "0.01"], "gone.json"),
        (["--sensitivity", "a.json", "--max-layer-drop", "0.01"], "a.json: is no JSON"),
    ],
)
def test_flags_are_answered_before_anything_heavy(
    flags: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.cfg").write_text("[net]\n\n[convolutional]\nfilters=2\n")
    Path("my.weights").write_bytes(b"")
    Path("a.json").write_text("none")
    with pytest.raises(UserError, match=said):
        read_flags(STRATEGY, None, ["--cfg", "my.cfg", "--weights", "my.weights", *flags])


def curve(*drops: float) -> Curve:
    """A group of 100 channels; the k-th tenth of it costs the k-th drop."""
    points = (Point(k / 10, 10 * k, drop, Scores()) for k, drop in enumerate(drops, 1))
    return Curve((0,), 100, tuple(points))


@pytest.mark.parametrize(
    ("drops", "limit", "most"),
    [
        ((0.0, 0.01, 0.02), 0.02, 30),  # never more than was measured
        ((0.0, 0.01, 0.02), 0.015, 25),  # half way between two points
        ((0.0, 0.01, 0.02), 0.0, 10),
        ((0.04,), 0.01, 2),  # from nothing gone, which costs nothing
        ((0.04,), 0.001, 0),
        ((0.02, 0.0, 0.0), 0.01, 5),  # what comes after a fall counts no more
        ((0.01, -0.02, 0.03), 0.02, 25),  # a gain in between earns nothing
    ],
)
def test_how_many_may_go(drops: tuple[float, ...], limit: float, most: int) -> None:
    assert curve(*drops).most_gone(limit) == most


def test_rank_correlation() -> None:
    assert spearman([1, 2, 3, 4], [10, 100, 1000, 10000]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    # By the formula 1 - 6 sum d^2 / (n (n^2 - 1)), with d = 0 1 1 0.
    assert spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)
    # Ties share their mean rank: the ranks are 0 1.5 1.5 3 and 0 1 2 3.
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    assert str(spearman([1, 1], [1, 2])) == "nan"
