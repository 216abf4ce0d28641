"""A reader that ends, as scipy's does at some damaged files, takes no other file with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from utils.annotations import mat_file
from utils.annotations.mat_file import corners_in

SERVES = """
import json, os, sys, time
for line in sys.stdin:
    path = json.loads(line)
    if path.endswith("bad"):
        os.abort()
    if path.endswith("slow"):
        time.sleep(60)
    print(json.dumps([[[1.0, 2.0]] * 4] if path.endswith("good") else None), flush=True)
"""


def test_the_file_at_which_it_ends_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "serves.py").write_text(SERVES)
    monkeypatch.setattr(mat_file, "_ROOT", tmp_path)
    monkeypatch.setattr(mat_file, "__name__", "serves")
    monkeypatch.setattr(mat_file, "_MOST_S", 2.0)
    names = ["a.good", "b.bad", "c.none", "d.good", "e.bad", "f.slow"]
    hand = [[[1.0, 2.0]] * 4]
    found = list(corners_in([tmp_path / name for name in names]))
    assert found == [hand, None, None, hand, None, None]
    assert list(corners_in([])) == []


def test_what_is_no_matlab_file(tmp_path: Path) -> None:
    pytest.importorskip("scipy.io", reason="needs scipy")
    (tmp_path / "a.mat").write_bytes(b"nothing")
    assert list(corners_in([tmp_path / "a.mat"])) == [None]
