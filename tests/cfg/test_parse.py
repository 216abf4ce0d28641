"""Cfg text: nothing is lost, what is wrong is named by place, edits touch what they say."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import Darknet
from tests.support.nets import conv, net, section
from utils.cfg import (
    Cfg,
    CfgError,
    Section,
    format_cfg,
    load_cfg,
    parse_cfg,
    plain_text,
    remove_option,
    replace_layers,
    save_cfg,
    set_option,
    with_net,
)
from utils.cfg.parse import LARGEST_CFG_BYTES, SYNONYMS
from utils.command.errors import UserError

Options = list[tuple[str, str]]

quick = settings(max_examples=60, deadline=None)  # deadlines fail on a busy machine

KINDS = ["convolutional", "route", "yolo", "unheard_of"]
WORD = st.text("abcdefgh_xyz", min_size=1, max_size=6)
VALUE = st.from_regex(r"[a-z0-9.,\-]{1,8}", fullmatch=True)
COMMENT = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]), max_size=12)
MEANING = st.lists(
    st.tuples(st.sampled_from(KINDS), st.lists(st.tuples(WORD, VALUE), max_size=4)), max_size=4
).map(lambda layers: [("net", [("width", "32")]), *layers])

NASTY = (
    "\ufeff; ours\r\n\r\n [ net ]  # first\r\nwi dth\t= 3 2 # pixels\r\nwidth=64\nno_value=\n"
    "no equals\n\n[conv]\nactivation = leaky # as ever\n\t#x\u2028y\n[max]\r\n  size =2"
)


@st.composite
def written(draw: st.DrawFn, meaning: list[tuple[str, Options]]) -> str:
    """Some text that means `meaning`: white space, comments and line ends as they come."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    comments = draw(st.lists(COMMENT, min_size=1, max_size=4))

    def one_of(*choices: str) -> str:
        return choices[int(rng.integers(len(choices)))]

    def line(text: str) -> str:
        spread = "".join(one_of("", "", " ", "\t ") + character for character in text)
        inline = one_of("", f" # {one_of(*comments)}", f"#{one_of(*comments)}")
        return spread + one_of("", " ") + inline + one_of("\n", "\r\n")

    def noise() -> str:
        comment = f" #{one_of(*comments)}\n; {one_of(*comments)}\r\n"
        return one_of("", "", "\n", " \t\r\n", "key_only\n", "nothing=\n", comment)

    parts = [draw(st.sampled_from(["", "\ufeff"]))]
    for kind, options in meaning:
        parts += ["" if len(parts) == 1 else noise(), line(f"[{kind}]")]
        for key, value in options:
            parts += [noise(), line(f"{key}={value}")]
    text = "".join(parts)
    return text.rstrip("\r\n") if draw(st.booleans()) else text


ANY_TEXT = MEANING.flatmap(lambda meaning: st.tuples(st.just(meaning), written(meaning)))


def meaning_of(cfg: Cfg) -> list[tuple[str, dict[str, str]]]:
    return [(s.kind, {key: s.text(key) for key in s.options}) for s in (cfg.net, *cfg.layers)]


def first_of_each(meaning: list[tuple[str, Options]]) -> list[tuple[str, dict[str, str]]]:
    return [(kind, dict(reversed(options))) for kind, options in meaning]


# -- nothing is lost -------------------------------------------------------------------------------


@quick
@given(ANY_TEXT)
def test_parse_and_format_give_the_same_text(case: tuple[list[tuple[str, Options]], str]) -> None:
    meaning, text = case
    cfg = parse_cfg(text)
    assert format_cfg(cfg) == text
    assert meaning_of(cfg) == first_of_each(meaning)


def test_round_trip_sees_a_lost_comment() -> None:
    assert format_cfg(parse_cfg(NASTY)) == NASTY
    cfg = parse_cfg(NASTY)
    assert cfg.preamble
    assert plain_text(cfg) != NASTY
    assert format_cfg(Cfg(cfg.net, cfg.layers[:1], cfg.preamble)) != NASTY
    bare = [remove_option(cfg.layers[0], "activation")]
    assert format_cfg(replace_layers(cfg, dict(enumerate(bare)))) != NASTY


def test_bytes_of_any_encoding_survive(tmp_path: Path) -> None:
    data = b"[net]\r\nwidth=32 # caf\xe9\n# \xff\xfe\x80\nheight=32"
    (tmp_path / "latin.cfg").write_bytes(data)
    cfg = load_cfg(tmp_path / "latin.cfg")
    assert format_cfg(cfg).encode("utf-8", "surrogateescape") == data
    assert plain_text(cfg).isascii()


@quick
@given(ANY_TEXT)
def test_plain_text_is_plain_and_means_the_same(
    case: tuple[list[tuple[str, Options]], str],
) -> None:
    meaning, text = case
    plain = plain_text(parse_cfg(text))
    assert plain.isascii()
    assert "\r" not in plain
    assert plain.endswith("\n")
    for line in plain.splitlines():
        assert line == "" or line[0] in "#;[" or ("=" in line and "#" not in line)
        if line[:1] not in ("#", ";"):
            assert not set(line) & set(" \t")
    assert meaning_of(parse_cfg(plain)) == first_of_each(meaning)


def test_plain_text_of_a_nasty_one() -> None:
    assert plain_text(parse_cfg(NASTY)) == (
        "; ours\n\n[net]\nwidth=32\nwidth=64\n\n\n\n[convolutional]\nactivation=leaky\n#x?y\n"
        "[maxpool]\nsize=2\n"
    )


@pytest.mark.parametrize("text", ["[net]\n#a\rfilters=3\n", "[net]\nn\xe4me=\xfc\n"])
def test_plain_text_hides_nothing_from_other_readers(text: str) -> None:
    plain = plain_text(parse_cfg(text))
    assert plain.isascii()
    assert "\r" not in plain


def test_save_writes_plain_text(tmp_path: Path) -> None:
    save_cfg(parse_cfg(NASTY), tmp_path / "saved.cfg")
    assert (tmp_path / "saved.cfg").read_bytes() == plain_text(parse_cfg(NASTY)).encode("ascii")
    assert [path.name for path in tmp_path.iterdir()] == ["saved.cfg"]


# -- what the text means ---------------------------------------------------------------------------


def test_a_comment_ends_a_value() -> None:
    text = "[net] # here\n[conv]\nfilters=64#x\nactivation=leaky # note = 3\nmask = 0, 1, 2 # 3,4\n"
    layer = parse_cfg(text).layers[0]
    assert layer.integer("filters") == 64
    assert layer.text("activation") == "leaky"
    assert layer.integers("mask") == (0, 1, 2)


@pytest.mark.parametrize(("short", "full"), SYNONYMS.items())
def test_synonyms(short: str, full: str) -> None:
    assert parse_cfg(f"[{short}]\n[net]" if full == "net" else f"[net]\n[{short}]")
    assert parse_cfg(f"[net]\n[{short}]").layers[0].kind == full


def test_numbers_and_lists() -> None:
    layer = parse_cfg("[net]\n[yolo]\nanchors=1,2, 3.5,-4e-1,\nnum=+2\nflag=2\noff=0\n").layers[0]
    assert layer.numbers("anchors") == (1.0, 2.0, 3.5, -0.4)
    assert layer.integer("num") == 2
    assert layer.flag("flag")
    assert not layer.flag("off", True)
    assert (layer.integer("none", 7), layer.number("none", 0.5)) == (7, 0.5)
    assert (layer.integers("none", (1,)), layer.numbers("none")) == ((1,), ())
    assert layer.text("none", "given") == "given"


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("filters", "12x", "a whole number"), ("filters", "2.9", "a whole number"),
        ("filters", "1e3", "a whole number"), ("filters", "1_000", "a whole number"),
        ("filters", "0x10", "a whole number"), ("filters", "\uff13", "a whole number"),
        ("layers", "1,,2", "a whole number"), ("layers", "1;2", "a whole number"),
        ("scale", "1.2.3", "a number"), ("scale", "nan", "a number"), ("scale", "inf", "a number"),
        ("scale", "1e999", "a number"), ("scale", "big", "a number"),
    ],
)  # fmt: skip
def test_a_number_that_does_not_parse_is_named(key: str, value: str, wanted: str) -> None:
    layer = parse_cfg(f"[net]\n\n# x\n[conv]\nok=1\n{key} = {value} # y\n", "my.cfg").layers[0]
    read: dict[str, Callable[[str], object]] = {
        "filters": layer.integer, "layers": layer.integers, "scale": layer.number,
    }  # fmt: skip
    with pytest.raises(CfgError) as error:
        read[key](key)
    assert str(error.value).startswith(f"my.cfg:6: [convolutional] {key}: expected {wanted}, got '")
    assert layer.integer("ok") == 1


def test_the_first_of_duplicate_keys_wins(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        layer = parse_cfg("[net]\n[conv]\nfilters=1\nsize=3\nfilters=2\n", "my.cfg").layers[0]
    assert layer.integer("filters") == 1
    assert caplog.messages == ["my.cfg:5: [convolutional] filters is set again; line 3 counts"]
    changed = set_option(layer, "filters", 8)
    assert changed.integer("filters") == 8
    assert [line.text for line in changed.lines[1:]] == ["filters=8\n", "size=3\n", "filters=2\n"]


@pytest.mark.parametrize(
    ("line", "message"),
    [("no equals", "my.cfg:3: 'noequals' has no '='"), ("size = #3", "my.cfg:3: 'size' has no")],
)
def test_a_line_that_sets_nothing_is_a_warning(
    caplog: pytest.LogCaptureFixture, line: str, message: str
) -> None:
    with caplog.at_level(logging.WARNING):
        layer = parse_cfg(f"[net]\n[conv]\n{line}\nfilters=2\n", "my.cfg").layers[0]
    assert [text[: len(message)] for text in caplog.messages] == [message]
    assert list(layer.options) == ["filters"]


def test_no_warning_without_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        parse_cfg("# a\n[net]\nfilters=1\n[conv]\nfilters=1 # b\n; c\n[conv]\nfilters=1\n")
    assert not caplog.messages


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no sections"), ("# only\n", "no sections"),
        ("width=3\n[net]\n", "my.cfg:1: 'width=3' stands before the first section"),
        ("[conv]\n[net]\n", "my.cfg:1: [convolutional]: the first section must be [net]"),
        ("[net]\n[conv\n", "my.cfg:2: '[conv' is not a section header"),
        ("[net]\n[conv]x\n", "my.cfg:2: '[conv]x' is not a section header"),
    ],
)  # fmt: skip
def test_text_that_is_no_cfg(text: str, message: str) -> None:
    with pytest.raises(CfgError) as error:
        parse_cfg(text, "my.cfg")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"


@pytest.mark.parametrize(
    ("layer", "place"),
    [
        ("[conv]\nactivation=Leaky\n", "my.cfg:6: [convolutional] activation: unknown"),
        (
            "[max]\n[max]\n[shortcut]\nfrom=-2\nactivation=x\n",
            "my.cfg:9: [shortcut] activation: ",
        ),
        ("[convolutionnal]\n", "my.cfg:5: [convolutionnal]: unknown section"),
        ("[conv]\nfilters=a\n", "my.cfg:6: [convolutional] filters: expected"),
        ("[route]\nlayers=-2\n", "my.cfg:6: [route] layers: -2 does not name an earlier layer"),
        ("[route]\nlayers=0\n", "my.cfg:6: [route] layers: 0 does not name an earlier layer"),
        ("[route]\n", "my.cfg:5: [route] layers: names no layer"),
        ("[crnn]\n", "my.cfg:5: [crnn]: not supported"),
    ],
)
def test_a_cfg_that_is_no_network(layer: str, place: str) -> None:
    with pytest.raises(CfgError) as error:
        Darknet(parse_cfg(NET + layer, "my.cfg"))
    assert str(error.value).startswith(place)


@pytest.mark.parametrize("key", ["width", "height", "channels"])
def test_the_input_must_have_a_size(key: str) -> None:
    text = NET.replace(f"{key}=", f"{key}=0 # ")
    with pytest.raises(CfgError, match=rf"my\.cfg:\d: \[net\] {key}: must be given"):
        Darknet(parse_cfg(text + conv(2), "my.cfg"))
    with pytest.raises(CfgError, match="no layers"):
        Darknet(parse_cfg(NET, "my.cfg"))


# -- files -----------------------------------------------------------------------------------------


def test_binary_is_not_a_cfg(tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    path.write_bytes(b"[net]\nwidth=3\n\0\1\2")
    with pytest.raises(CfgError, match=r"a\.cfg: holds binary data"):
        load_cfg(path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    with path.open("wb") as file:
        file.truncate(LARGEST_CFG_BYTES + 1)
    with pytest.raises(CfgError, match="too large for a cfg"):
        load_cfg(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.cfg: no such file"):
        load_cfg(tmp_path / "none.cfg")
    with pytest.raises(UserError, match="is a folder"):
        load_cfg(tmp_path)


# -- edits -----------------------------------------------------------------------------------------


def texts(layer: Section) -> list[str]:
    return [line.text for line in layer.lines]


@quick
@given(ANY_TEXT, st.data())
def test_set_option_keeps_the_other_text(
    case: tuple[list[tuple[str, Options]], str], data: st.DataObject
) -> None:
    cfg = parse_cfg(case[1])
    before = data.draw(st.sampled_from((cfg.net, *cfg.layers)))
    key = data.draw(st.sampled_from([*before.options, "fresh"]))
    after = set_option(before, key, "17,4")
    assert after.text(key) == "17,4"
    wanted = {**{k: before.text(k) for k in before.options}, key: "17,4"}
    assert {k: after.text(k) for k in after.options} == wanted
    if key == "fresh":
        added = next(line for line in after.lines if line.key == key)
        rest = [line.text for line in after.lines if line is not added]
        assert "".join(rest).split() == "".join(texts(before)).split()
    else:
        changed = [(a, b) for a, b in zip(texts(before), texts(after), strict=True) if a != b]
        assert len(changed) <= 1
        for old, new in changed:
            assert old.partition("#")[1:] == new.partition("#")[1:]
            assert old.partition("=")[0] == new.partition("=")[0]
    edited = with_net(cfg, after) if before is cfg.net else cfg
    if before is not cfg.net:
        place = next(i for i, layer in enumerate(cfg.layers) if layer is before)
        edited = replace_layers(cfg, {place: after})
    again = parse_cfg(format_cfg(edited))
    assert meaning_of(again) == meaning_of(edited)


def test_set_option_in_place_and_at_the_end() -> None:
    layer = parse_cfg("[net]\n[conv]\r\n# a\r\nfilters = 3  # b\r\n\r\n# c\r\n").layers[0]
    changed = set_option(layer, "filters", 128)
    assert texts(changed) == ["[conv]\r\n", "# a\r\n", "filters = 128  # b\r\n", "\r\n", "# c\r\n"]
    added = set_option(layer, "groups", 2)
    assert texts(added)[2:4] == ["filters = 3  # b\r\n", "groups=2\r\n"]
    assert texts(layer)[2] == "filters = 3  # b\r\n"
    assert texts(remove_option(added, "groups")) == texts(layer)


def test_a_section_moved_behind_an_unfinished_line_starts_its_own() -> None:
    cfg = parse_cfg("[net]\nwidth=3\n[conv]\nfilters=3")
    doubled = Cfg(cfg.net, (*cfg.layers, *cfg.layers))
    assert [layer.integer("filters") for layer in parse_cfg(format_cfg(doubled)).layers] == [3, 3]


def test_the_helpers_of_these_tests_write_what_they_say() -> None:
    cfg = net(conv(4, groups=None), section("shortcut", frm=-1))
    assert cfg.layers[0].integer("filters") == 4
    assert not cfg.layers[0].has("groups")
    assert cfg.layers[1].text("from") == "-1"
