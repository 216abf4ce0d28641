#!/usr/bin/env bash
# OpenVINO 2026.4.1, numpy 2.4.6 (PyPI), Python 3.11 or later.
#
# save_model stores constants in half precision, as it does by default. Half precision ends at 65504, and
# from 32768 on it knows only every 32nd number. A table of four numbers is added to the input: once with
# 40003 in it, once with 100000. What does the saved file add?
#
# Guess before running: the table with 100000 stays in float32, as it has no room; 40003 becomes 40000.
# Seen: the other way round: 40003 stays and 100000 becomes 65504, without a word. A table is kept in
# float32 where rounding would move a number by more than 1, but numbers with no room at all do not count
# for that; they keep a table in float32 only from three quarters of it on (two of four are cut, three
# are not). So 100000 beside a 40003 stays 100000, and so does 100000 as the only number.
#
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import openvino
from openvino import opset13


def added(table):
    x = opset13.parameter([len(table)], np.float32)
    model = openvino.Model([opset13.add(x, opset13.constant(np.float32(table)))], [x])
    openvino.save_model(model, "a.xml")
    (found,) = openvino.Core().compile_model("a.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(
        [np.zeros(len(table), np.float32)]
    ).values()
    return found.tolist()


seen = {
    table: added(table)
    for table in (
        (1, 2, 3, 40003), (1, 2, 3, 100000), (1, 2, 100000, 100000), (1, 100000, 100000, 100000),
        (1, 2, 40003, 100000), (100000,),
    )
}
print("openvino", openvino.__version__)
for table, found in seen.items():
    print(" ", table, "adds", found)
cut = 65504.0
assert list(seen.values()) == [
    [1.0, 2.0, 3.0, 40003.0], [1.0, 2.0, 3.0, cut], [1.0, 2.0, cut, cut],
    [1.0, 100000.0, 100000.0, 100000.0], [1.0, 2.0, 40003.0, 100000.0], [100000.0],
], seen
PYTHON
