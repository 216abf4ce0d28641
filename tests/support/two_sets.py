"""A small network with two sets of heads, and the same with one: hand-made, for fast tests."""

from __future__ import annotations

import json

from tests.support.dfl_net import NC, branch
from tests.support.nets import conv, net, section
from utils.cfg import Cfg
from utils.cfg.head_note import HEAD_NOTE, dfl_note

HEIGHT_WIDTH = (48, 64)


def two_sets(reg_max: int = 1, sets: tuple[str, ...] = ("many", "one"), nc: int = NC) -> Cfg:
    """Strides 4 and 8; "many": for NMS, and only there to be trained unless it is alone."""
    stem = conv(8, stride=2, activation="swish") + conv(12, stride=2, activation="swish")
    block = conv(12, activation="swish") + section("shortcut", frm=-2)
    down = conv(16, stride=2, activation="swish")
    levels = 3, 4  # layers that the heads read
    text, last = stem + block + down, 4
    for kind in sets:
        one2one = kind == "one"
        for level, source in enumerate(levels):
            note = dfl_note(level, 2, 4 * 2**level, reg_max, nc, one2one, kind == sets[-1])
            comment = f"# darkslim {HEAD_NOTE} {json.dumps(note)}\n"
            boxes, classes = branch(4 * reg_max), branch(nc)
            start = section("route", layers=source)
            text += f"{start}{boxes}{start}{classes}[route]\n{comment}layers=-4,-1\n\n"
            last += 7
    return net(text, width=HEIGHT_WIDTH[1], height=HEIGHT_WIDTH[0])
