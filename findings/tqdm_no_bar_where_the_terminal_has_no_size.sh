#!/usr/bin/env bash
# tqdm 4.70.1 (PyPI), Linux, Python 3.10 or later.
#
# A pseudo-terminal whose size was never set says 0 rows and 0 columns: that of `script`, of some
# container runtimes with -t, of expect. What does tqdm draw there?
#
# Guess before running: a bar of some default width, as on a pipe, or text without a bar.
# Seen: with 0 rows nothing at all, also where the columns are known, so that a program looks as if
# it hung; with 0 columns and rows set only the counts. 4.67.1 drew in all four cases.
#
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tqdm==4.70.1
cat > "$folder/bar.py" <<'PYTHON'
from tqdm import tqdm

for _ in tqdm(range(5), mininterval=0):
    pass
PYTHON
"$folder/venv/bin/python" - "$folder/venv/bin/python" "$folder/bar.py" <<'PYTHON'
import fcntl
import os
import pty
import struct
import sys
import termios


def drawn(rows, columns):
    """What the program writes to a terminal of this size."""
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.execv(sys.argv[1], sys.argv[1:])
    text = b""
    try:
        while block := os.read(terminal, 4096):
            text += block
    except OSError:  # the end, on Linux
        pass
    os.waitpid(child, 0)
    return text.decode(errors="replace")


seen = {size: drawn(*size) for size in ((0, 0), (0, 120), (40, 0), (40, 120))}
for size, text in seen.items():
    print(f"{size[0]} rows, {size[1]} columns: {len(text)} characters, counts {'5/5' in text}")
assert not any("5/5" in seen[size] for size in ((0, 0), (0, 120))), seen
assert "5/5" in seen[40, 120] and "|" in seen[40, 120], seen
PYTHON
