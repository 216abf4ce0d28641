"""Flags in every spelling that people type, the nearest of one that is none, help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pytest

from utils.command.cli import Parser, number_of, ratio
from utils.command.second_names import second_names
from utils.command.value_range import several


def parser(first: Sequence[str] = ()) -> Parser:
    made = Parser("What it does.", first, prog="it.py")
    made.add_argument("--cfg", help="structure")
    made.add_argument("--weights", help="numbers")
    made.add_argument("--img_size", type=int, nargs="+", help="input")
    made.add_argument("--batch-size", type=int, help="images at once")
    made.add_argument("--percent", type=ratio, help="what goes")
    made.add_argument_group("rare").add_argument("--conf-thres", type=ratio, help="least score")
    return made


def refusal(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        parser().parse_args(words)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--img-size", "64", "96"], "img_size", [64, 96]),
        (["--batch_size=2"], "batch_size", 2),
        (["--imgsz", "64"], "img_size", [64]),
        (["--imgsz=64"], "img_size", [64]),
        (["--batch", "2"], "batch_size", 2),
        (["--conf", ".3"], "conf_thres", 0.3),
        (["--conf_thresh", ".3"], "conf_thres", 0.3),
        (["--model", "my.cfg"], "cfg", "my.cfg"),
        (["--model=MY.CFG"], "cfg", "MY.CFG"),
        (["--model", "best.pt"], "weights", "best.pt"),
        (["--global_percent", "55%"], "percent", 0.55),
    ],
)
def test_every_spelling_is_known(words: list[str], name: str, value: object) -> None:
    assert getattr(parser().parse_args(words), name) == value


def test_what_stands_in_a_value_is_not_touched() -> None:
    assert parser().parse_args(["--weights=--imgsz=3"]).weights == "--imgsz=3"
    assert parser().parse_args(["--weights", "imgsz"]).weights == "imgsz"


def test_a_name_of_the_command_itself_is_that_flag() -> None:
    made = parser()
    made.add_argument("--batch", type=int)
    found = made.parse_args(["--batch", "3", "--bs", "4"])
    assert (found.batch, found.batch_size) == (3, 4)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--batc", "4"], "did you mean --batch-size?"),
        (["--imgz", "4"], "did you mean --img_size?"),
        (["imgsz=64"], "did you mean --img_size 64?"),
        (["-weights", "a"], "did you mean --weights?"),
        (["--batc", "4", "--weigts", "a"], "did you mean --batch-size, --weights?"),
    ],
)
def test_the_nearest_flag_is_named(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hint in refusal(words, capsys)


def test_of_nothing_near_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean" not in refusal(["--quux", "imgsz"], capsys)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.55", 0.55), ("55%", 0.55), ("7%", 0.07), ("12.5%", 0.125), ("100%", 1.0), ("0", 0.0)],
)
def test_shares(text: str, value: float) -> None:
    assert ratio(text) == value
    assert float(number_of(text)) == value


def test_ranges_of_shares() -> None:
    assert several(ratio)("30%:50%:10%") == several(ratio)("0.3:0.5:0.1") == (0.3, 0.4, 0.5)
    assert several(ratio)("30%,0.5") == (0.3, 0.5)


@pytest.mark.parametrize(
    ("text", "message"), [("55", "got 55 .did you mean 55%"), ("-1", "got -1$"), ("155%", "155%$")]
)
def test_a_number_that_is_no_share(text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        ratio(text)


@pytest.mark.parametrize("text", ["", "%", "x", "5%%"])
def test_a_word_that_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        ratio(text)


def test_help_shows_what_matters_and_help_all_all(capsys: pytest.CaptureFixture[str]) -> None:
    made = parser(first=("--cfg", "--weights"))
    short = made.format_help()
    assert "--weights" in short and "--percent" not in short and "--help-all" in short
    with pytest.raises(SystemExit) as end:
        made.parse_args(["--help-all"])
    assert end.value.code == 0
    everything = capsys.readouterr().out
    assert "--percent" in everything and "rare:" in everything and "--imgsz --img" in everything
    assert "--percent" in parser().format_help()


def test_second_names_are_those_of_flags_that_are_there() -> None:
    assert second_names(["--cfg"]) == ""
    assert "--conf" in second_names(["--conf-thres"]) and "--iou" not in second_names(["--cfg"])
