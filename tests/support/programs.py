"""Pickled programs, put together by opcode; none of them names anything that does harm."""

from __future__ import annotations

import pickletools
import struct
import zipfile
from pathlib import Path

_TEXT = b"\x03\x00\x00\x00abc"
_LONG = struct.pack("<Q", 3) + b"abc"
# Each opcode with an argument, as its bytes.
BYTES_OF: dict[str, bytes] = {
    "INT": b"I5\n", "BININT": b"J\x05\0\0\0", "BININT1": b"K\x05", "BININT2": b"M\x05\0",
    "LONG": b"L5L\n", "LONG1": b"\x8a\x01\x05", "LONG4": b"\x8b\x01\0\0\0\x05",
    "STRING": b"S'abc'\n", "BINSTRING": b"T" + _TEXT, "SHORT_BINSTRING": b"U\x03abc",
    "BINBYTES": b"B" + _TEXT, "SHORT_BINBYTES": b"C\x03abc", "BINBYTES8": b"\x8e" + _LONG,
    "BYTEARRAY8": b"\x96" + _LONG, "NEXT_BUFFER": b"\x97", "READONLY_BUFFER": b"\x98",
    "NONE": b"N", "NEWTRUE": b"\x88", "NEWFALSE": b"\x89",
    "UNICODE": b"Vabc\n", "SHORT_BINUNICODE": b"\x8c\x03abc", "BINUNICODE": b"X" + _TEXT,
    "BINUNICODE8": b"\x8d" + _LONG, "FLOAT": b"F1.5\n", "BINFLOAT": b"G" + struct.pack(">d", 1.5),
    "EMPTY_LIST": b"]", "APPEND": b"a", "APPENDS": b"e", "LIST": b"l",
    "EMPTY_TUPLE": b")", "TUPLE": b"t", "TUPLE1": b"\x85", "TUPLE2": b"\x86", "TUPLE3": b"\x87",
    "EMPTY_DICT": b"}", "DICT": b"d", "SETITEM": b"s", "SETITEMS": b"u",
    "EMPTY_SET": b"\x8f", "ADDITEMS": b"\x90", "FROZENSET": b"\x91",
    "POP": b"0", "DUP": b"2", "MARK": b"(", "POP_MARK": b"1",
    "GET": b"g0\n", "BINGET": b"h\0", "LONG_BINGET": b"j\0\0\0\0",
    "PUT": b"p0\n", "BINPUT": b"q\0", "LONG_BINPUT": b"r\0\0\0\0", "MEMOIZE": b"\x94",
    "EXT1": b"\x82\x01", "EXT2": b"\x83\x01\0", "EXT4": b"\x84\x01\0\0\0",
    "GLOBAL": b"cnowhere\nThing\n", "STACK_GLOBAL": b"\x93", "REDUCE": b"R", "BUILD": b"b",
    "INST": b"inowhere\nThing\n", "OBJ": b"o", "NEWOBJ": b"\x81", "NEWOBJ_EX": b"\x92",
    "PROTO": b"\x80\x02", "STOP": b".", "FRAME": b"\x95" + struct.pack("<Q", 1),
    "PERSID": b"P0\n", "BINPERSID": b"Q",
}  # fmt: skip
_THING = BYTES_OF["GLOBAL"]
# What has to lie on the stack, so that an opcode finds what it wants.
_BEFORE: dict[str, bytes] = {
    "APPEND": b"]N", "APPENDS": b"](NN", "LIST": b"(N", "TUPLE": b"(N", "TUPLE1": b"N",
    "TUPLE2": b"NN", "TUPLE3": b"NNN", "DICT": b"(K\x01N", "SETITEM": b"}K\x01N",
    "SETITEMS": b"}(K\x01N", "ADDITEMS": b"\x8f(K\x01", "FROZENSET": b"(K\x01", "POP": b"NN",
    "DUP": b"N", "POP_MARK": b"N(N", "GET": b"Nq\0", "BINGET": b"Nq\0", "LONG_BINGET": b"Nq\0",
    "PUT": b"N", "BINPUT": b"N", "LONG_BINPUT": b"N", "MEMOIZE": b"N",
    "STACK_GLOBAL": b"\x8c\x07nowhere\x8c\x05Thing", "REDUCE": _THING + b")",
    "BUILD": _THING + b")R}", "INST": b"(", "OBJ": b"(" + _THING, "NEWOBJ": _THING + b")",
    "NEWOBJ_EX": _THING + b")}", "STOP": b"N", "BINPERSID": b"N",
}  # fmt: skip
_AFTER = {"MARK": b"1N", "PROTO": b"N", "FRAME": b"N", "STOP": b""}


def program_with(name: str) -> bytes:
    """A program in which an opcode finds what it wants, and whose value is what it leaves."""
    code = b"\x80\x02" + _BEFORE.get(name, b"") + BYTES_OF[name] + _AFTER.get(name, b"")
    return code if name == "STOP" else code + b"."


def archive(path: Path, program: bytes) -> Path:
    """A checkpoint's zip with this program and no tensors."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", program)
        file.writestr("a/byteorder", "little")
        file.writestr("a/version", "3\n")
    return path


def names_of(program: bytes) -> list[str]:
    """Its opcodes."""
    return [opcode.name for opcode, _, _ in pickletools.genops(program)]
