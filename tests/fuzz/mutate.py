"""Bytes and words of a right file, changed a little: what disks, tools and strangers make of it."""

from __future__ import annotations

import io
import random
import re
import zipfile

_WORDS = re.compile(rb"[A-Za-z_]+|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\s+|.", re.DOTALL)
_NUMBERS = (
    b"0", b"-1", b"1", b"2", b"255", b"65536", b"2147483648", b"999999999999",
    b"-9223372036854775809", b"1e999", b"-1e999", b"nan", b"inf", b"1e-320", b"0.5", b"1_0",
    "\u0663".encode(), b"9" * 5000, b"0x10",
)  # fmt: skip
_PIECES = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\x85", "\u2028".encode(), b"\x1c", b"\xc3\x28",
    b"[", b"]", b"{", b"}", b"<", b">", b"&amp;", b"'", b'"', b",", b"=", b":", b"#", b";", b"..",
    b"/", b"\\", b"null", b"true", b"!!float x", b"!!int ''", b"2001-99-99", b"[net]", b"[yolo]",
    b"[route]", b"layers=-1",
    b"\\ud800", b"\\u0000", b"a" * 300, b"a" * 5000, b"[" * 3000, b"- " * 500,
)  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Some changes to bytes, or to words where it is text; of an archive, to one of its parts."""
    if data.startswith(b"PK\x03\x04") and chance.random() < 0.8:
        return _archive(data, chance)
    change = _bytes if b"\0" in data[:4096] or chance.random() < 0.3 else _words
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        data = change(data, chance)
    return data


def _bytes(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data) + 1)
    length = chance.choice((1, 1, 2, 4, 8, 64, 1000))
    how = chance.randrange(6)
    if how == 0:
        return data[:place]
    if how == 1:
        return data[:place] + data[place + length :]
    if how == 2:
        return data[:place] + data[place : place + length] * 2 + data[place + length :]
    if how == 3:
        return data[:place] + chance.choice(_PIECES) + data[place:]
    if how == 4:
        noise = bytes(chance.randrange(256) for _ in range(min(length, 8)))
        return data[:place] + noise + data[place + len(noise) :]
    flipped = bytearray(data)
    if flipped:
        flipped[place % len(flipped)] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def _words(data: bytes, chance: random.Random) -> bytes:
    words = _WORDS.findall(data)
    if not words:
        return chance.choice(_PIECES)
    place = chance.randrange(len(words))
    how = chance.randrange(6)
    if how == 0:
        numbers = [k for k, word in enumerate(words) if word[:1].isdigit() or word[:1] == b"-"]
        words[chance.choice(numbers or [place])] = chance.choice(_NUMBERS)
    elif how == 1:
        words[place] = chance.choice(_PIECES)
    elif how == 2:
        del words[place : place + chance.choice((1, 2, 10))]
    elif how == 3:
        words[place:place] = words[place : place + chance.choice((1, 5, 40))]
    elif how == 4:
        words[place] = chance.choice(words)
    else:
        lines = data.split(b"\n")
        first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
        lines[first], lines[second] = lines[second], lines[first]
        return b"\n".join(lines)
    return b"".join(words)


def _archive(data: bytes, chance: random.Random) -> bytes:
    """The same archive with one part changed; its checksums are right."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as copy:
        parts = source.infolist()
        small = [part for part in parts if part.filename.endswith(("data.pkl", "version"))]
        chosen = chance.choice(small or parts) if chance.random() < 0.7 else chance.choice(parts)
        packed = zipfile.ZIP_DEFLATED if chance.random() < 0.05 else zipfile.ZIP_STORED
        for part in parts:
            content = source.read(part)
            if part is chosen:
                content = _bytes(content, chance)
            copy.writestr(part.filename, content, packed)
    return target.getvalue()
