"""Flags and options cannot drift apart: each flag ends in a field, with the same default."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from utils.cfg import parse_cfg
from utils.command.cli import Parser
from utils.command.errors import UserError
from utils.command.flag_fields import to_flags
from utils.training.flags import make_parser
from utils.training.options import EpochOptions, TrainOptions

STRATEGIES = ("prune", "shortcut_prune", "slim_prune")
# What says where options come from, and is none.
NO_OPTIONS = {"tensor_limit", "help", "help_all", "hyp", "resume"}
# What --hyp-from-cfg finds beyond the flags.
FOUND = {"loss_from_cfg": ["box"], "lr_marks": [[0.5, 0.1]], "burn_in": 3, "max_batches": 7}
# A teacher needs both.
TEACHER = ["--t-cfg", "a.cfg", "--t-weights", "a.weights"]

PLAIN_CFG = parse_cfg("[net]\nwidth=32\nheight=32\nchannels=3\n")


def parser_of() -> Parser:
    return make_parser(None, STRATEGIES)


def options(parser: Parser, *words: str) -> TrainOptions:
    start = ["--weights", "my.weights"]  # which --int8 asks for
    return TrainOptions.of_flags(vars(parser.parse_args([*TEACHER, *start, *words])))


def other_values(action: argparse.Action) -> Iterator[list[str]]:
    """Words that give a flag another value than its default."""
    option = action.option_strings[-1]
    if action.nargs in (0, "?"):
        yield [option]
        return
    for word in [str(choice) for choice in action.choices or ()] or ["0.25", "3", "x"]:
        with suppress(ValueError, argparse.ArgumentTypeError):
            value = action.type(word) if callable(action.type) else word
            if value != action.default:
                yield [option, word]


def unread(parser: Parser) -> set[str]:
    """The flags that change nothing in the options, whatever they are given."""
    plain, changing = options(parser), set(NO_OPTIONS)
    for action in parser._actions:
        if action.dest in NO_OPTIONS:
            continue
        if any(options(parser, *words) != plain for words in other_values(action)):
            changing.add(action.dest)
    return {action.dest for action in parser._actions} - changing


def test_every_flag_ends_in_the_options() -> None:
    parser = parser_of()
    assert len(parser._actions) > 80
    assert unread(parser) == set()
    parser.add_argument("--warmth", type=float, default=1.0)
    assert unread(parser) == {"warmth"}  # negative control


def test_every_option_has_a_flag() -> None:
    dests = {action.dest for action in parser_of()._actions}
    assert to_flags(TrainOptions()).keys() - dests == FOUND.keys()
    assert dests - to_flags(TrainOptions()).keys() == {*NO_OPTIONS, "prune"}
    plain = vars(parser_of().parse_args([]))
    for name, value in FOUND.items():
        assert TrainOptions.of_flags({**plain, name: value}) != TrainOptions()


def test_the_defaults_are_the_same() -> None:
    parser = parser_of()
    assert TrainOptions.of_flags(vars(parser.parse_args([]))) == TrainOptions()
    parser.set_defaults(weight_decay=0.1)  # negative control
    assert TrainOptions.of_flags(vars(parser.parse_args([]))) != TrainOptions()


def test_options_are_saved_as_the_flags_that_give_them() -> None:
    flags = ["--box-gain", "3", "--img-size", "64", "96", "--distill", "1", "2", "--prune", "0"]
    typed = {**vars(parser_of().parse_args([*TEACHER, *flags])), **FOUND}
    given = TrainOptions.of_flags(typed)
    assert given.saved() == typed
    again = TrainOptions.of_flags({**typed, **to_flags(given)})
    assert again == given
    assert (given.sparsity.strategy, given.images.size, given.loss.box) == ("prune", (64, 96), 3)


def test_what_a_run_decides_is_saved_in_place_of_what_was_typed() -> None:
    typed = vars(parser_of().parse_args(["-sr", "--img-size", "64"]))
    decided = replace(TrainOptions.of_flags(typed).decided(PLAIN_CFG), epochs=7)
    wanted: dict[str, Any] = {
        "flip": 0.5,
        "optimizer": "sgd",
        "lr0": 0.02,
        "momentum": 0.937,
        "remeasure": 200,
        "epochs": 7,
    }
    assert decided.saved() == {**typed, **wanted}
    assert decided.decided(PLAIN_CFG) == decided
    assert typed["epochs"] == 100  # nothing was changed in place


def test_options_of_a_call_are_saved_too() -> None:
    called = TrainOptions("a.cfg", "a.data", 3, after_epoch=EpochOptions(patience=4))
    saved = called.saved()
    assert (saved["cfg"], saved["epochs"], saved["patience"]) == ("a.cfg", 3, 4)
    filled = vars(parser_of().parse_args([], argparse.Namespace(**saved)))
    assert TrainOptions.of_flags(filled) == called


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--t-weights", "x.weights"], "--t-cfg"),
        (["--t-cfg", "x.cfg"], "knows nothing"),
        (["--img-size", "1", "2", "3"], "--img-size takes"),
        (["--mosaic", "2"], "--mosaic 2: must lie between"),
    ],
)
def test_options_that_cannot_be_are_the_users_mistake(flags: list[str], message: str) -> None:
    typed: dict[str, Any] = vars(parser_of().parse_args(flags))
    with pytest.raises(UserError, match=message):
        TrainOptions.of_flags(typed)


@pytest.mark.parametrize(("line", "share"), [("", 0.5), ("flip=1\n", 0.5), ("flip=0\n", 0.0)])
def test_what_the_cfg_says_of_left_and_right_is_followed(line: str, share: float) -> None:
    """Signs, letters: with flip=0 in [net] a mirrored image is another class."""
    cfg = parse_cfg(f"[net]\nwidth=32\nheight=32\nchannels=3\n{line}")
    typed = vars(parser_of().parse_args([]))
    assert TrainOptions.of_flags(typed).decided(cfg).images.augment.flip == share
    given = vars(parser_of().parse_args(["--flip", "0.25"]))
    assert TrainOptions.of_flags(given).decided(cfg).images.augment.flip == 0.25
