"""What a pickled program would build is known before it runs: depth, values, memo, every opcode."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.programs import BYTES_OF, archive, program_with
from utils.command.errors import UserError
from utils.network.checkpoints.program import MOST_DEPTH, MOST_VALUES, require_bounded
from utils.network.weights import load_checkpoint
from utils.translate.reading.checkpoint import _REFUSED_OPCODES, load_stubs


def nested(depth: int) -> bytes:
    """A list in a list in a list; `depth` of them around one number."""
    return b"\x80\x02" + b"]" * depth + b"K\x01" + b"a" * depth + b"."


def doubled(times: int) -> bytes:
    """A pair of one value twice, a pair of that twice, ...: as a key it takes 2^times steps."""
    return b"\x80\x02}K\x01" + b"2\x86" * times + b"K\x01s."


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (nested(MOST_DEPTH + 1), "deep"),
        (nested(100_000), "deep"),
        (doubled(23), "values"),
        (doubled(10_000), "values"),
        (b"\x80\x02}r" + struct.pack("<I", (1 << 31) - 1) + b".", "LONG_BINPUT"),
        (b"\x80\x02}p-1\n.", "PUT"),
        (b"\x80\x02j\x07\x00\x00\x00.", "LONG_BINGET"),
        (b"\x80\x02a.", "nothing on the stack"),
        (b"\x80\x02K\x01", "STOP"),
        (b"\x80\x02X\x01", "not enough data"),  # torch's own reader: struct.error
    ],
)
def test_programs_that_go_too_far(program: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        require_bounded(program)
    path = archive(tmp_path / "a.pt", program)
    for read in (load_stubs, load_checkpoint):
        with pytest.raises(UserError, match=said):
            read(path)


@pytest.mark.parametrize("program", [nested(MOST_DEPTH), doubled(20)])
def test_programs_that_just_do_not(program: bytes) -> None:
    assert MOST_VALUES < 1 << 23
    require_bounded(program)
    pickle.loads(program)


def test_shared_values_count_each_time_and_no_more() -> None:
    """A hundred references to a list of a hundred, which is far from any limit."""
    shared = list(range(100))
    require_bounded(pickle.dumps(dict.fromkeys(range(100), shared)))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        value = {"a": [1, 2.5, None, True, b"x", "y", (1,), {2}], "b": frozenset((3,)), "c": 10**30}
        program = pickle.dumps(value, protocol)
        require_bounded(program)
        assert pickle.loads(program) == value


def test_the_form_before_1_6_is_bounded_too(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert load_checkpoint(tmp_path / "old.pt")["model"] == {}
    first = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(value, first, 2)
    (tmp_path / "bad.pt").write_bytes(first.getvalue() + doubled(500))
    with pytest.raises(UserError, match="values"):
        load_checkpoint(tmp_path / "bad.pt")


def test_each_opcode_of_the_machine_is_known() -> None:
    assert {opcode.name for opcode in pickletools.opcodes} == set(BYTES_OF)


@pytest.mark.parametrize("name", sorted(BYTES_OF))
def test_each_opcode_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    """In a program that Python's own machine would take, and on an empty stack."""
    for number, program in enumerate((program_with(name), b"\x80\x02" + BYTES_OF[name] + b".")):
        path = archive(tmp_path / f"{number}.pt", program)
        for read in (load_stubs, load_checkpoint):
            said = outcome(read, path)
            assert "\n" not in said
            if name in _REFUSED_OPCODES and read is load_stubs:
                assert "damaged" in said


def test_right_programs_of_allowed_opcodes_are_read(tmp_path: Path) -> None:
    """Else a reader that refuses everything would pass."""
    read = [
        name for name in sorted(BYTES_OF)
        if not outcome(load_stubs, archive(tmp_path / "a.pt", program_with(name)))
    ]  # fmt: skip
    assert set(BYTES_OF) - set(read) == _REFUSED_OPCODES | {"PERSID", "BINPERSID"}


def outcome(read: Any, path: Path) -> str:
    """The line that a reader says, "" where it reads; anything else that it raises passes on."""
    try:
        read(path)
    except UserError as error:
        assert str(error)
        return str(error)
    return ""
